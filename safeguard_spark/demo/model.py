"""Model: the demo model's ordinary Hugging Face folder, made from the shipped weights when first used."""

import json
import os
import shutil
import tempfile
from pathlib import Path

from safeguard_spark.demo import shape, tokenizer, weights

FORM = 1  # raise it when the same weights are to be written in another form


def model_path(cache: Path | None = None) -> Path:
    """The model's folder, complete. Makes it below `cache` when first used (some seconds, 110 MB).

    `cache` defaults to `safeguard-spark` in the user's cache folder. The folder's name follows the weights, so new
    weights never meet an old folder. Processes may race: each writes its own, and the first to finish wins.
    """
    return assemble(weights.SHIPPED, cache or default_cache())


def default_cache() -> Path:
    """`$XDG_CACHE_HOME/safeguard-spark`, or `~/.cache/safeguard-spark`."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "safeguard-spark"


def assemble(shipped: Path, cache: Path) -> Path:
    """The folder of a compact weights file, made below `cache` if it is not there."""
    folder = cache / f"demo-model-{weights.digest(shipped)[:12]}-{FORM}"
    if folder.is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=cache))
    try:
        _write(shipped, unfinished)
        unfinished.chmod(0o755)
        try:
            unfinished.rename(folder)  # all at once: no reader sees half a folder
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def _write(shipped: Path, folder: Path) -> None:
    config = json.dumps(shape.config(), indent=2)
    (folder / "config.json").write_text(config, encoding="utf-8")
    generation = {"eos_token_id": [200_002, 199_999, 200_012], "pad_token_id": 199_999, "do_sample": False}
    (folder / "generation_config.json").write_text(json.dumps(generation, indent=2), encoding="utf-8")
    tokenizer.write(folder)
    compact = weights.load(shipped)
    # Rounded before the tables become a hundred times as large.
    rounded = {name: weights.bfloat16(array) for name, array in compact.arrays.items()}
    weights.write_bfloat16(folder / "model.safetensors", weights.expanded(weights.Shipped(compact.ids, rounded)))


if __name__ == "__main__":
    print(model_path())
