"""The shipped weights: small, complete, and expanded to the model's folder without loss or race."""

import itertools
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import safetensors
from hypothesis import given
from hypothesis import strategies as st

from safeguard_spark.demo import model, shape, weights
from tests.build import until

pytestmark = pytest.mark.unit

MIB = 2**20
finite = st.floats(width=32, allow_nan=False, allow_infinity=False, min_value=-(2.0**100), max_value=2.0**100)


def test_the_shipped_file_is_small_and_holds_every_array_of_the_model() -> None:
    shipped = weights.load()

    assert weights.SHIPPED.stat().st_size < 5 * MIB
    assert len(np.unique(shipped.ids)) == len(shipped.ids) and shipped.ids.max() < shape.VOCABULARY
    assert all(np.isfinite(array).all() for array in shipped.arrays.values())
    for name in weights.TABLES:
        assert shipped.arrays[name].shape == (len(shipped.ids) + 1, shape.HIDDEN)


def test_learned_tokens_keep_their_row_and_every_other_has_the_stand_ins() -> None:
    shipped = weights.load()
    expanded = weights.expanded(shipped)
    others = np.setdiff1d(np.arange(shape.VOCABULARY), shipped.ids)

    for name in weights.TABLES:
        assert expanded[name].shape == (shape.VOCABULARY, shape.HIDDEN)
        assert (expanded[name][shipped.ids] == shipped.arrays[name][1:]).all()
        assert (expanded[name][others] == shipped.arrays[name][0]).all()


def test_what_is_saved_is_loaded_as_half_precision(tmp_path: Path) -> None:
    arrays = {name: np.linspace(-2, 2, 6, dtype=np.float32).reshape(3, 2) for name in (*weights.TABLES, "other")}

    weights.save(tmp_path / "w.safetensors", np.array([5, 9]), arrays)
    loaded = weights.load(tmp_path / "w.safetensors")

    assert loaded.ids.tolist() == [5, 9]
    assert all((loaded.arrays[name] == array.astype(np.float16)).all() for name, array in arrays.items())


@given(values=st.lists(finite, min_size=1, max_size=9))
def test_bfloat16_is_the_nearest_value_of_eight_bits(values: list[float]) -> None:
    array = np.array(values, dtype=np.float32)

    stored = weights.bfloat16(array)
    read = (stored.astype(np.uint32) << 16).view(np.float32)

    assert stored.dtype == np.uint16
    # Half of the last of eight bits; cutting instead of rounding would be off by twice as much.
    assert (np.abs(read.astype(np.float64) - array) <= np.abs(array) * 2.0**-8 + 1e-38).all()


def test_the_folder_is_an_ordinary_one_with_the_arrays_gpt_oss_has(demo_model: Path) -> None:
    config = json.loads((demo_model / "config.json").read_text(encoding="utf-8"))
    with (demo_model / "model.safetensors").open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        start = file.tell()
    size = (demo_model / "model.safetensors").stat().st_size

    assert config["architectures"] == ["GptOssForCausalLM"] and config["vocab_size"] == 201_088
    assert {path.name for path in demo_model.iterdir()} == {
        "config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip
    assert header.pop("__metadata__") == {"format": "pt"}
    assert {entry["dtype"] for entry in header.values()} == {"BF16"}
    ends = sorted(tuple(entry["data_offsets"]) for entry in header.values())
    assert ends[0][0] == 0 and all(a[1] == b[0] for a, b in itertools.pairwise(ends))
    assert size - ends[-1][1] == start
    assert sum(name.endswith("self_attn.sinks") for name in header) == shape.LAYERS


def test_safetensors_reads_the_file_written_without_it(demo_model: Path) -> None:
    arrays = dict(safetensors.deserialize((demo_model / "model.safetensors").read_bytes()))
    expanded = weights.expanded(weights.load())

    assert {name: array["shape"] for name, array in arrays.items()} == {
        name: list(array.shape) for name, array in expanded.items()
    }
    for name in ("lm_head.weight", "model.layers.1.mlp.experts.gate_up_proj"):
        read = (np.frombuffer(arrays[name]["data"], dtype=np.uint16).astype(np.uint32) << 16).view(np.float32)
        assert (np.abs(read - expanded[name].ravel()) <= np.abs(read) * 2.0**-8).all()


def test_a_folder_that_is_there_is_used_as_it_is(demo_model: Path) -> None:
    before = (demo_model / "config.json").stat().st_mtime_ns
    assert model.model_path(demo_model.parent) == demo_model
    assert (demo_model / "config.json").stat().st_mtime_ns == before


def test_of_two_processes_that_make_the_folder_at_once_the_faster_one_wins(demo_model: Path, tmp_path: Path) -> None:
    cache, faster = tmp_path / "cache", tmp_path / "faster"
    faster.mkdir()
    (faster / "config.json").touch()
    with ThreadPoolExecutor(1) as pool:
        slower = pool.submit(model.model_path, cache)
        until(lambda: [*cache.glob("*")])
        faster.rename(cache / demo_model.name)
    assert slower.result() == cache / demo_model.name
    assert [path.name for path in cache.rglob("*")] == [demo_model.name, "config.json"]


def test_new_weights_never_meet_an_old_folder(tmp_path: Path, demo_model: Path) -> None:
    shipped = weights.load()
    arrays = {**shipped.arrays, "model.norm.weight": shipped.arrays["model.norm.weight"] * 2}
    weights.save(tmp_path / "new.safetensors", shipped.ids, arrays)

    assert weights.digest()[:12] in demo_model.name
    assert weights.digest(tmp_path / "new.safetensors") != weights.digest()
