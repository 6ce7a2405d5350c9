"""The cause of a failed start, out of logs as vLLM writes them."""

from pathlib import Path

import pytest

from safeguard_spark.engines.server_log import (
    CAUSE_CHARACTERS,
    TAIL_BYTES,
    cause,
    is_lasting,
    is_passing,
    is_wrong_setting,
    tail,
)

pytestmark = pytest.mark.unit

WRONG_ARGUMENT = """\
usage: api_server.py [-h] [--headless] [--api-server-count API_SERVER_COUNT]
                     [--config CONFIG]
api_server.py: error: unrecognized arguments: --no-such-argument 1
"""
NO_SUCH_MODEL = """\
(APIServer pid=11) INFO 11-24 02:12:01 [utils.py:261] non-default args: {'model': '/m'}
(APIServer pid=11) Traceback (most recent call last):
(APIServer pid=11)   File "<frozen runpy>", line 198, in _run_module_as_main
(APIServer pid=11) pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig
(APIServer pid=11)   Value error, Invalid repository ID or local directory specified: '/m'. [type=value_error, input_x]
(APIServer pid=11)     For further information visit https://errors.pydantic.dev/2.12/v/value_error
"""
OUT_OF_MEMORY = """\
(EngineCore pid=20) ERROR 11-24 02:12:40 [core.py:1010] EngineCore failed to start.
(EngineCore pid=20) ERROR 11-24 02:12:40 [core.py:1010] Traceback (most recent call last):
(EngineCore pid=20) ERROR 11-24 02:12:40 [core.py:1010]   File "core.py", line 1001, in run_engine_core
(EngineCore pid=20) ERROR 11-24 02:12:40 [core.py:1010] torch.OutOfMemoryError: CUDA out of memory. Tried 2 GiB
(APIServer pid=11) Traceback (most recent call last):
(APIServer pid=11)   File "api_server.py", line 1, in main
(APIServer pid=11) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}
"""
LAST = "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}"
NO_PYTHON = "FileNotFoundError: [Errno 2] No such file: '/no/python'"


@pytest.mark.parametrize(
    ("log", "message"),
    [
        (WRONG_ARGUMENT, "unrecognized arguments: --no-such-argument 1"),
        (NO_SUCH_MODEL, "Invalid repository ID or local directory specified: '/m'"),
        (OUT_OF_MEMORY, "OutOfMemoryError: CUDA out of memory. Tried 2 GiB"),
        (OUT_OF_MEMORY.splitlines()[-1], LAST),
        ("INFO 11-24 02:12:01 [x.py:1] all is well\n", None),
        ("", None),
        (f"{NO_PYTHON}\n", NO_PYTHON),
    ],
)  # fmt: skip
def test_the_cause_is_the_servers_own_message(log: str, message: str | None) -> None:
    assert cause(log) == message


def test_a_cause_is_one_short_line() -> None:
    message = cause("ValueError: " + "very " * 1000)
    assert message is not None and len(message) == CAUSE_CHARACTERS and "\n" not in message


def test_the_tail_of_a_log_is_bounded_and_empty_without_a_log(tmp_path: Path) -> None:
    assert tail(tmp_path / "none") == ""
    (tmp_path / "log").write_bytes(b"\xff" + b"x" * TAIL_BYTES * 2 + b"end")
    assert len(tail(tmp_path / "log")) == TAIL_BYTES and tail(tmp_path / "log").endswith("end")


MEMORY_HELD = (
    "(EngineCore pid=2) ValueError: Free memory on device cuda:0 (1.5/79.2 GiB) on startup is less than desired\n"
)
HALF_A_CACHE = """\
(EngineCore pid=2) INFO 11-24 02:12:40 [backends.py:1] Using cache directory: /h/.cache/vllm/torch_compile_cache/a
(EngineCore pid=2)   File "/usr/lib/python3.12/ast.py", line 64, in literal_eval
(EngineCore pid=2)   File "<unknown>", line 1
(EngineCore pid=2) SyntaxError: '{' was never closed
"""
NO_CARD = "(EngineCore pid=2) RuntimeError: No CUDA GPUs are available\n"
OTHER = HALF_A_CACHE.splitlines()[0] + "\nValueError: something else\n"


@pytest.mark.parametrize(
    ("log", "passing", "lasting"),
    [
        (MEMORY_HELD, True, False),
        (HALF_A_CACHE, True, False),
        (OUT_OF_MEMORY, False, False),
        (OTHER, False, False),
        (NO_CARD, False, True),
        ("ModuleNotFoundError: No module named 'vllm'\n", False, True),
        ("RuntimeError: CUDA error: no kernel image is available for execution on the device\n", False, True),
        (WRONG_ARGUMENT, False, True),
        ("", False, False),
    ],
)
def test_a_reason_that_passes_and_one_that_lasts_are_known(log: str, passing: bool, lasting: bool) -> None:
    assert (is_passing(log), is_lasting(log)) == (passing, lasting)


def test_a_start_that_wrong_settings_stop_is_told_from_one_that_may_succeed_later() -> None:
    assert is_wrong_setting(WRONG_ARGUMENT) and is_wrong_setting(NO_SUCH_MODEL)
    assert not is_wrong_setting(OUT_OF_MEMORY) and not is_wrong_setting("")
