"""Weights: the demo model as shipped, and expanded to the full vocabulary. Needs numpy only, no torch."""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from safeguard_spark.demo import shape

FILE = "demo.safetensors"
SHIPPED = Path(__file__).parent / "weights" / FILE
IDS = "ids"  # harmony ids of rows 1, 2, … of the two tables; row 0 represents every other token
TABLES = ("model.embed_tokens.weight", "lm_head.weight")
Array = npt.NDArray[Any]


class Shipped(NamedTuple):
    """Compact weights: harmony ids, and float32 arrays by checkpoint name."""

    ids: Array
    arrays: dict[str, Array]


def save(path: Path, ids: Array, arrays: dict[str, Array]) -> None:
    """Write compact weights as float16 safetensors."""
    from safetensors.numpy import save_file

    half = {name: np.ascontiguousarray(array, dtype=np.float16) for name, array in arrays.items()}
    save_file({**half, IDS: ids.astype(np.int32)}, path)


def load(path: Path = SHIPPED) -> Shipped:
    """Read compact weights."""
    from safetensors.numpy import load_file

    arrays = load_file(path)
    ids = arrays.pop(IDS)
    return Shipped(ids, {name: array.astype(np.float32) for name, array in arrays.items()})


def digest(path: Path = SHIPPED) -> str:
    """Lower-case hex SHA-256 of the file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def expanded(shipped: Shipped) -> dict[str, Array]:
    """Every array of the checkpoint in its own type, the two tables with all rows of the vocabulary."""
    arrays = dict(shipped.arrays)
    for name in TABLES:
        rows = arrays[name]
        table = np.broadcast_to(rows[0], (shape.VOCABULARY, rows.shape[1])).copy()
        table[shipped.ids] = rows[1:]
        arrays[name] = table
    return arrays


def write_bfloat16(path: Path, arrays: dict[str, Array]) -> None:
    """Write a safetensors file of arrays that `bfloat16` has made.

    Format: header length (8 bytes, little endian), JSON header, data
    (https://github.com/huggingface/safetensors#format).
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, array in arrays.items():
        header[name] = {"dtype": "BF16", "shape": list(array.shape), "data_offsets": [at, at + 2 * array.size]}
        at += 2 * array.size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in arrays.values():
            file.write(array.tobytes())


def bfloat16(array: Array) -> npt.NDArray[np.uint16]:
    """The upper half of each float32, rounded to nearest, ties to even. Numpy has no type for bfloat16."""
    bits = np.ascontiguousarray(array, dtype=np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
