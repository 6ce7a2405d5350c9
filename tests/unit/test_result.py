"""Results and errors as values: exit codes, JSON, and errors that survive pickling."""

import json
import pickle

import pytest

from safeguard_spark import errors
from safeguard_spark.errors import ExitCode, SafeguardError
from safeguard_spark.result import RunResult
from tests.build import run_result

pytestmark = pytest.mark.unit

PROMISED = {  # what schedulers read
    "run_id", "status", "rows", "pending", "calls", "written", "outcomes", "engine_starts", "tokens", "seconds",
    "tables",
}  # fmt: skip


def test_exit_codes_keep_their_numbers_and_each_says_what_it_means() -> None:
    names = ["complete", "unexpected", "usage", "policy", "table", "engine", "partial", "gate"]
    assert {code.name: code.value for code in ExitCode} == {name: number for number, name in enumerate(names)}
    meanings = [code.__doc__ or "" for code in ExitCode]
    assert all(meaning.endswith(".") for meaning in meanings) and len(set(meanings)) == len(names)
    assert all(ExitCode(code.value) is code and pickle.loads(pickle.dumps(code)) is code for code in ExitCode)


@pytest.mark.parametrize(
    ("status", "code"), [("planned", 0), ("complete", 0), ("partial", 6), ("failed", 1), ("died", 1)]
)
def test_the_exit_code_follows_the_status(status: str, code: int) -> None:
    assert run_result(status=status).exit_code == code


def test_the_json_object_is_plain_and_has_every_promised_key() -> None:
    printed = json.loads(json.dumps(run_result().to_json()))
    assert set(printed) >= PROMISED
    assert (printed["status"], printed["tokens"]) == ("complete", run_result().tokens)
    assert printed["tables"] == run_result().tables
    assert RunResult.model_validate(printed) == run_result()


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("SafeguardError", 1), ("ConfigError", 2), ("PolicyError", 3), ("SourceError", 4), ("TableError", 4),
        ("EngineError", 5), ("GateError", 7),
    ],
)  # fmt: skip
def test_each_error_has_its_exit_code_and_survives_pickling(kind: str, code: int) -> None:
    error = getattr(errors, kind)("What is wrong: do this.")
    assert isinstance(error, SafeguardError) and error.exit_code == code
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error) and str(back) == "What is wrong: do this."
