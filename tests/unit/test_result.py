"""Results and errors as values: exit codes, JSON, and errors that survive pickling."""

import json
import pickle

import pytest

from safeguard_spark import errors
from safeguard_spark.errors import ExitCode, SafeguardError
from safeguard_spark.result import RunResult, Status

pytestmark = pytest.mark.unit

PROMISED = {  # what schedulers read
    "run_id", "status", "rows", "pending", "calls", "written", "outcomes", "engine_starts", "tokens", "seconds",
    "tables",
}  # fmt: skip


def result(status: Status) -> RunResult:
    return RunResult(
        run_id="r", status=status, rows=3, pending=2, calls=2, written=2, outcomes={"labelled": 2}, engine_starts=1,
        tokens={"prompt": 9}, seconds={"total": 1.5}, tables={"labels": "t/labels"},
    )  # fmt: skip


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
    assert result(Status(status)).exit_code == code


def test_the_json_object_is_plain_and_has_every_promised_key() -> None:
    printed = json.loads(json.dumps(result(Status.complete).to_json()))
    assert set(printed) >= PROMISED
    assert (printed["status"], printed["tokens"]) == ("complete", {"prompt": 9})
    assert printed["tables"] == {"labels": "t/labels"}
    assert RunResult.model_validate(printed) == result(Status.complete)


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
