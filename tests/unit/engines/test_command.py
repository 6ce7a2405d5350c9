"""The command line and environment of vLLM's server: what is passed on and what is refused."""

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from safeguard_spark.config.engine import VllmConfig
from safeguard_spark.engines.command import REFUSED, RPC_BYTES, command, environment
from safeguard_spark.engines.hardware import is_cpu_build, is_slow_in_bfloat16
from safeguard_spark.engines.paths import server_path
from safeguard_spark.engines.processes import SERVER_ID_VARIABLE, ProcessId
from safeguard_spark.engines.server_folder import ServerFolder
from safeguard_spark.errors import ConfigError, EngineError

pytestmark = pytest.mark.unit
SOCKET, HOME = Path("/run/x/s"), Path("/run/home")


def config(model: str = "openai/gpt-oss-safeguard-20b", **settings: Any) -> VllmConfig:
    return VllmConfig(model=model, **settings)


def command_line(**settings: Any) -> str:
    return " ".join(command(config(**settings), SOCKET, {}))


def test_the_whole_command_line() -> None:
    args = {"max_num_seqs": 64, "enforce_eager": True, "enable-prefix-caching": False, "quantization": None}
    assert command_line(args={**args, "compilation_config": {"level": 0}}, revision="abc", python="/opt/python") == (
        "/opt/python -m vllm.entrypoints.openai.api_server --model openai/gpt-oss-safeguard-20b "
        "--served-model-name openai/gpt-oss-safeguard-20b --uds /run/x/s --revision abc "
        "--enable-scale-out --enable-prompt-tokens-details --disable-uvicorn-access-log --no-enable-log-requests "
        '--max-num-seqs 64 --enforce-eager --no-enable-prefix-caching --compilation-config {"level": 0}'
    )


def test_the_interpreter_is_the_workers_own_by_default() -> None:
    assert command(config(), SOCKET, {})[0] == sys.executable


@pytest.mark.parametrize(
    ("args", "options"), [({}, ["--dtype", "a"]), ({"dtype": "b"}, ["--dtype", "b"]), ({"dtype": None}, [])]
)
def test_configured_arguments_override_those_of_the_hardware(args: dict[str, Any], options: list[str]) -> None:
    argv = command(config(args=args), SOCKET, {"dtype": "a"})
    assert argv[argv.index("--no-enable-log-requests") + 1 :] == options


@pytest.mark.parametrize(
    ("machine", "text", "slow"),
    [
        ("x86_64", "processor : 0\nflags\t\t: fpu avx avx2\n", True),
        ("x86_64", "processor : 0\nflags\t\t: fpu avx2 avx512f avx512_bf16\n", False),
        ("aarch64", "flags : asimd\n", False),
        ("x86_64", "processor : 0\n", False),
        ("x86_64", None, False),
    ],
)
def test_a_processor_without_avx_512_is_slow_in_bfloat16(
    tmp_path: Path, machine: str, text: str | None, slow: bool
) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    if text is not None:
        cpuinfo.write_text(text)
    assert is_slow_in_bfloat16(machine, cpuinfo) is slow


def test_the_build_installed_here_is_recognized() -> None:
    spec = importlib.util.find_spec("vllm")
    assert spec is not None and spec.origin is not None
    assert is_cpu_build() is any(Path(spec.origin).parent.glob("_C_AVX*"))


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_arguments_that_open_the_server_or_rename_the_model_are_refused(name: str) -> None:
    for spelling in (name, name.replace("_", "-"), f"--{name}"):
        with pytest.raises(ConfigError, match=f"engine.args.{name} cannot be set: "):
            command(config(args={spelling: "x"}), SOCKET, {})


@pytest.mark.parametrize("name", ["trust_remote", "conf", "log-error", "h", "--ud", "port=80", "port 80", ""])
def test_the_beginning_of_a_refused_name_and_what_is_no_name_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"engine\.args\."):
        command(config(args={name: True}), SOCKET, {})


def test_a_name_that_a_refused_one_begins_is_passed_on() -> None:
    assert "--config-format hf --model-impl vllm" in command_line(args={"config_format": "hf", "model_impl": "vllm"})


def test_another_program_gets_the_command_line() -> None:
    assert command_line(command=["numactl", "serve"]).startswith("numactl serve --model openai/gpt")


@pytest.mark.parametrize("name", ["VLLM_SERVER_DEV_MODE", "VLLM_DEBUG_LOG_API_SERVER_RESPONSE", "VLLM_API_KEY"])
def test_variables_that_open_the_server_or_log_content_are_dropped_and_refused(name: str) -> None:
    inherited = {name: "1", "VLLM_PORT": "tcp://10.0.0.1:8000", "VLLM_SERVICE_PORT_HTTP": "8000", "VLLM_ATTENTION": "x"}
    env = environment(config(), inherited, [], Path("/run/x"), HOME, "id")
    assert {key: value for key, value in env.items() if key in inherited} == {"VLLM_ATTENTION": "x"}
    assert env["VLLM_HOST_IP"] == "127.0.0.1" and env["GLOO_SOCKET_IFNAME"] == env["NCCL_SOCKET_IFNAME"] == "lo"
    with pytest.raises(ConfigError, match=f"engine.env.{name} cannot be set"):
        environment(config(env={name: "1"}), {}, [], Path("/run/x"), HOME, "id")


def test_a_refused_argument_may_be_switched_off_and_is_left_out() -> None:
    assert "trust" not in command_line(args={"trust_remote_code": False, "api_key": None})


def test_a_model_folder_that_does_not_exist_is_the_operators_error(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="is not a folder on this executor"):
        command(config(model=str(tmp_path / "none")), SOCKET, {})
    (tmp_path / "ein Modell").mkdir()
    assert str(tmp_path / "ein Modell") in command(config(model=str(tmp_path / "ein Modell")), SOCKET, {})


def test_the_environment_is_the_workers_without_sparks(tmp_path: Path) -> None:
    inherited = {
        "PATH": "/bin", "OMP_NUM_THREADS": "1", "SPARK_HOME": "/spark", "PYSPARK_PYTHON": "x", "SAFEGUARD_X": "y",
        "PYTHONPATH": os.pathsep.join(["/spark/python/lib/pyspark.zip", "/mine", "/x/py4j-0.10-src.zip"]),
    }  # fmt: skip
    env = environment(config(model=str(tmp_path), env={"A": "b"}), inherited, [], Path("/run/x"), HOME, "id")
    assert env["A"] == "b" and env[SERVER_ID_VARIABLE] == "id" and env["PYTHONPATH"] == "/mine"
    assert env["PATH"] == f"{Path(sys.executable).parent}{os.pathsep}/bin" and env["HOME"] == str(HOME)
    assert not {"OMP_NUM_THREADS", "SPARK_HOME", "PYSPARK_PYTHON", "SAFEGUARD_X", "CUDA_VISIBLE_DEVICES"} & set(env)
    assert env["HF_HUB_OFFLINE"] == "1" and env["VLLM_NO_USAGE_STATS"] == "1"
    assert env["VLLM_CPU_KVCACHE_SPACE"] == "1" and env["VLLM_RPC_BASE_PATH"] == "/run/x"


def test_gpus_are_for_the_server_alone_and_configuration_overrides_all_but_the_server_id() -> None:
    env = environment(
        config(env={SERVER_ID_VARIABLE: "other", "HF_TOKEN": "t"}), {}, ["1", "3"], Path("/run/x"), HOME, "id"
    )
    assert env["CUDA_VISIBLE_DEVICES"] == "1,3" and env[SERVER_ID_VARIABLE] == "id" and env["HF_TOKEN"] == "t"
    assert "HF_HUB_OFFLINE" not in env and "VLLM_CPU_KVCACHE_SPACE" not in env


def test_vllms_own_sockets_are_elsewhere_if_our_path_is_too_long() -> None:
    assert "VLLM_RPC_BASE_PATH" not in environment(config(), {}, [], Path("/" + "x" * RPC_BYTES), HOME, "id")


def test_paths_are_short_enough_and_distinct_for_executors_and_settings(tmp_path: Path) -> None:
    paths = {
        server_path(config(args=args, work_dir=str(base)), ProcessId(1, ticks), devices)
        for args in ({}, {"max_num_seqs": 1})
        for ticks in ("2", "3")
        for devices in ([], ["0"])
        for base in (tmp_path, tmp_path / ("ü" * 80))
    }
    folders = [ServerFolder(path) for path in paths]
    assert len({folder.socket for folder in folders}) == len(paths) == 16
    assert all(len(os.fsencode(folder.sockets)) <= RPC_BYTES for folder in folders)
    again = server_path(config(work_dir=str(tmp_path)), ProcessId(1, "2"), [])
    assert again in paths
