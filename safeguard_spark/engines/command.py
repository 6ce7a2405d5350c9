"""The command line and the environment of a vLLM server, from configuration. Pure."""

import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safeguard_spark.config.engine import VllmConfig
from safeguard_spark.engines.processes import SERVER_ID_VARIABLE
from safeguard_spark.errors import ConfigError, EngineError
from safeguard_spark.extras import is_installed

# Arguments that are refused, because the server answers on its own socket to this user alone, labels name the model
# that the configuration names, no code from a model's folder runs, and no content reaches the log.
REFUSED = {
    "model": "set engine.model instead",
    "served_model_name": "set engine.model_name instead",
    "revision": "set engine.revision instead",
    "host": "the server listens on a private socket only",
    "port": "the server listens on a private socket only",
    "uds": "the server listens on a private socket only; set engine.work_dir to choose where",
    "api_key": "the server listens on a private socket only",
    "tokens_only": "structured output needs the server's tokenizer",
    "trust_remote_code": "code from a model's folder is never run",
    "enable_log_requests": "content must not reach the log",
    "enable_log_outputs": "content must not reach the log",
    "log_error_stack": "content must not reach the log",
    "middleware": "content must not reach other code",
    "config": "its file could set what is refused here; write the arguments under engine.args",
}
SWITCHED_OFF: tuple[Any, ...] = (None, False, [], "")  # values of a refused argument that are ignored
DEFAULTS: dict[str, Any] = {
    "enable_scale_out": True,  # the route that takes token ids
    "enable_prompt_tokens_details": True,  # cached tokens are a metric
    "disable_uvicorn_access_log": True,
    "enable_log_requests": False,
}
# Variables of vLLM that open the server or write content to its log. A prefix stands for all that begin with it.
REFUSED_ENV = (
    "VLLM_SERVER_DEV_MODE", "VLLM_DEBUG", "VLLM_TRACE_FUNCTION", "VLLM_LOGGING_CONFIG_PATH", "VLLM_API_KEY",
    "VLLM_USE_RUST_FRONTEND", "VLLM_ALLOW_RUNTIME_LORA_UPDATING",
)  # fmt: skip
# What a Kubernetes Service called `vllm` puts into every pod, and Spark's settings for its Python workers.
DROPPED = ("OMP_NUM_THREADS", "VLLM_PORT", "VLLM_HOST", "VLLM_SERVICE_HOST", SERVER_ID_VARIABLE)
DROPPED_PREFIXES = (
    "VLLM_PORT_",
    "VLLM_SERVICE_PORT",
    "SPARK_",
    "PYSPARK_",
    "PYTHON_WORKER_",
    "SAFEGUARD_",
    *REFUSED_ENV,
)
# Processes of one server meet on this machine only: without these, gloo and NCCL listen on the host name's address.
LOOPBACK = {"VLLM_HOST_IP": "127.0.0.1", "GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}
ARGUMENT = re.compile(r"[A-Za-z0-9_.-]+")
RPC_BYTES = 107 - 1 - 36  # vLLM names its own sockets by a UUID in VLLM_RPC_BASE_PATH


def command(config: VllmConfig, socket: Path, hardware_args: Mapping[str, Any]) -> list[str]:
    """The server's command line. `engine.args` override `hardware_args`, the arguments for this hardware.

    Raises ConfigError for an argument that is refused, EngineError for a model folder that does not exist, or if vLLM
    is not installed.
    """
    args = {}
    for written, value in config.args.items():
        name = written.replace("-", "_").lstrip("_")
        if not ARGUMENT.fullmatch(name):
            raise ConfigError(f"engine.args.{written} is not the name of an argument. Write the name alone.")
        # vLLM takes the beginning of a name for the name.
        refused = next((full for full in REFUSED if full.startswith(name)), None)
        if refused is None:
            args[name] = value
        elif value not in SWITCHED_OFF:
            raise ConfigError(f"engine.args.{name} cannot be set: {REFUSED[refused]}.")
    if not config.python and not config.command and not is_installed("vllm"):
        raise EngineError(
            f"vLLM is not installed in {sys.executable}: pip install 'safeguard-spark[gpu]' there (cpu without a GPU), "
            "set engine.python to a Python that has it, or use a server: engine.kind=endpoint."
        )
    argv = [*config.command] or [config.python or sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    argv += ["--model", model(config), "--served-model-name", config.model, "--uds", str(socket)]
    if config.revision:
        argv += ["--revision", config.revision]
    for name, value in {**DEFAULTS, **hardware_args, **args}.items():
        argv += flag(name, value)
    return argv


def flag(name: str, value: Any) -> list[str]:
    """One argument as vLLM's command line writes it; empty for null."""
    option = "--" + name.replace("_", "-")
    if value is None:
        return []
    if isinstance(value, bool):
        return [option] if value else ["--no-" + option.removeprefix("--")]
    if isinstance(value, dict | list):
        return [option, json.dumps(value)]
    return [option, str(value)]


def model(config: VllmConfig) -> str:
    """The model argument of the server. Raises EngineError if it is a folder that does not exist."""
    name = config.model
    if is_folder_name(name):
        folder = Path(name).expanduser()
        if not folder.exists():
            raise EngineError(
                f"engine.model {name} is not a folder on this executor. Correct the path, or copy the model there."
            )
        return str(folder)
    return name


def is_folder_name(name: str) -> bool:
    """Whether a model is a folder and not a name on a hub."""
    return name.startswith(("/", "./", "../", "~")) or Path(name).is_dir()


def environment(
    config: VllmConfig, inherited: Mapping[str, str], devices: list[str], folder: Path, home: Path, server_id: str
) -> dict[str, str]:
    """The server's environment: the worker's without Spark's settings, then ours, then `engine.env`.

    `folder` is for vLLM's own sockets, `home` for its caches. Raises ConfigError for a variable that is refused.
    """
    for name in config.env:
        if name.startswith(REFUSED_ENV):
            raise ConfigError(
                f"engine.env.{name} cannot be set: it opens the server to others, or writes content to its log."
            )
    env = {
        name: value
        for name, value in inherited.items()
        if name not in DROPPED and not name.startswith(DROPPED_PREFIXES)
    }
    path = [entry for entry in env.pop("PYTHONPATH", "").split(os.pathsep) if entry and not _is_sparks(entry)]
    if path:
        env["PYTHONPATH"] = os.pathsep.join(path)
    # Triton and FlashInfer start `ninja` and the like by name.
    env["PATH"] = os.pathsep.join([str(Path(config.python or sys.executable).parent), env.get("PATH", os.defpath)])
    env["HOME"] = str(home)
    env.setdefault("USER", f"uid{os.getuid()}")  # a container's uid may have no name, and PyTorch asks for one
    if sys.platform == "linux":
        env |= LOOPBACK
    env["VLLM_NO_USAGE_STATS"] = "1"
    env["SPT_NOENV"] = "1"  # else a process that sets its title overwrites SERVER_ID_VARIABLE
    if is_folder_name(config.model):
        env["HF_HUB_OFFLINE"] = "1"
    if len(os.fsencode(folder)) <= RPC_BYTES:
        env["VLLM_RPC_BASE_PATH"] = str(folder)
    if devices:
        env["CUDA_VISIBLE_DEVICES"] = ",".join(devices)
    else:
        env.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    return {**env, **config.env, SERVER_ID_VARIABLE: server_id}


def _is_sparks(entry: str) -> bool:
    parts = Path(entry).parts
    return any(part.startswith(("pyspark", "py4j", "spark-", "spark_", "appcache")) for part in parts)
