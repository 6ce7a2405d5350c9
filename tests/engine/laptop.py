"""The engine's environment and arguments for a laptop, from `conf/local.yaml`."""

from pathlib import Path
from typing import Any

import yaml

ENGINE: dict[str, Any] = yaml.safe_load((Path(__file__).parents[2] / "conf" / "local.yaml").read_text())["engine"]
ENV: dict[str, str] = ENGINE["env"]


def args(**overrides: Any) -> dict[str, Any]:
    """The arguments, with overrides."""
    return {**ENGINE["args"], **overrides}
