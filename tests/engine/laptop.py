"""The engine's environment and arguments of a laptop, as `conf/local.yaml` has them."""

from pathlib import Path
from typing import Any

import yaml

ENGINE: dict[str, Any] = yaml.safe_load((Path(__file__).parents[2] / "conf" / "local.yaml").read_text())["engine"]
ENV: dict[str, str] = ENGINE["env"]


def args(**changed: Any) -> dict[str, Any]:
    """The arguments with some of them changed."""
    return {**ENGINE["args"], **changed}
