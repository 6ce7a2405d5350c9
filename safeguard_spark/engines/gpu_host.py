"""What a GPU machine must have before vLLM starts: without it a start fails after minutes, with a long traceback."""

import contextlib
import os
import shutil
import subprocess
import sys
import sysconfig
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from safeguard_spark.errors import EngineError

MIN_CAPABILITY = (8, 0)
# The oldest driver of each CUDA version (CUDA release notes, "CUDA Toolkit and Minimum Required Driver Version").
MIN_DRIVER = {12: 525, 13: 580}
QUERY = ["--query-gpu=driver_version,compute_cap", "--format=csv,noheader"]
QUERY_S = 30.0


class Gpu(NamedTuple):
    """A GPU's driver version (its first number) and compute capability."""

    driver: int
    capability: tuple[int, int]


def require(devices: list[str]) -> None:
    """Raise EngineError in one sentence if vLLM cannot run on these GPUs (all of the machine's if there are none)."""
    problem = missing_compiler(os.environ.get("PATH", os.defpath), Path(sysconfig.get_path("include")))
    if problem is None:
        problem = next((text for gpu in gpus(devices) if (text := unfit(gpu, cuda_major()))), None)
    if problem:
        raise EngineError(problem)


def missing_compiler(path: str, include: Path) -> str | None:
    """A sentence if what compiles the model's kernels is missing: a C compiler on `path`, Python's header in `include`.

    Triton compiles a C module for the interpreter at each first start.
    """
    compiler = os.environ.get("CC")
    if not any(shutil.which(name, path=path) for name in ([compiler] if compiler else ["gcc", "clang"])):
        return "vLLM needs a C compiler on a GPU machine, and there is none on PATH: install gcc on every executor."
    if not (include / "Python.h").is_file():
        package = f"python{sys.version_info.major}.{sys.version_info.minor}-dev"
        return f"vLLM needs Python.h on a GPU machine, and {include} lacks it: install {package} on every executor."
    return None


def gpus(devices: list[str]) -> list[Gpu]:
    """These GPUs as `nvidia-smi` reports them; none if it is missing or fails, as vLLM will say why."""
    command = ["nvidia-smi", *QUERY, *([f"--id={','.join(devices)}"] if devices else [])]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=QUERY_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [gpu for line in done.stdout.splitlines() if (gpu := parse(line))]


def parse(line: str) -> Gpu | None:
    """A line of `nvidia-smi`: `580.95.05, 9.0`. None if it is none."""
    with contextlib.suppress(ValueError):
        driver, capability = line.split(",")
        major, minor = capability.strip().split(".")
        return Gpu(int(driver.split(".")[0]), (int(major), int(minor)))
    return None


def cuda_major() -> int | None:
    """The CUDA version that the installed PyTorch was built for, without loading it; None if that is unknown."""
    for name in ("nvidia-cuda-runtime", "nvidia-cuda-runtime-cu12"):
        with contextlib.suppress(PackageNotFoundError, ValueError):
            return int(version(name).split(".")[0])
    return None


def unfit(gpu: Gpu, cuda: int | None) -> str | None:
    """A sentence if vLLM cannot run on a GPU."""
    if gpu.capability < MIN_CAPABILITY:
        return (
            f"This GPU has compute capability {gpu.capability[0]}.{gpu.capability[1]}, and vLLM needs "
            f"{MIN_CAPABILITY[0]}.{MIN_CAPABILITY[1]} for these models: use an A100, L4, H100 or newer."
        )
    oldest = MIN_DRIVER.get(cuda or 0, 0)
    if gpu.driver < oldest:
        return (
            f"The GPU's driver is {gpu.driver}, and the installed PyTorch (CUDA {cuda}) needs {oldest} or newer: "
            "update the driver on every executor."
        )
    return None
