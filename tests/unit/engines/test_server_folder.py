"""The folder of a server: its records are read as they were written, or not at all."""

import json
import os
from pathlib import Path

import pytest

from safeguard_spark.engines.processes import ProcessId
from safeguard_spark.engines.server_folder import (
    FILES,
    FailedStart,
    Phase,
    ServerEnd,
    ServerFolder,
    ServerState,
    Starts,
)

pytestmark = pytest.mark.unit
THIS = ProcessId.of(os.getpid())
DEAD = ProcessId(os.getpid(), "0")
STATE = ServerState("this", "run", THIS, supervisor=THIS, server_pid=7)
RECORDS = (STATE, ServerState("this", "run", THIS), ServerEnd("this", "killed"), FailedStart("run", "why"))


@pytest.mark.parametrize("record", [*RECORDS, Starts({"first": 1, "second": 2})])
def test_a_record_is_read_as_it_was_written(tmp_path: Path, record: ServerState) -> None:
    folder = ServerFolder(tmp_path)
    assert folder.read(type(record)) is None
    folder.write(record)
    assert folder.read(type(record)) == record
    assert os.listdir(tmp_path) == [FILES[type(record)]]


@pytest.mark.parametrize(
    "change", [{"format": 2}, {"format": None}, {"another": 1}, {"server_id": ...}], ids=["2", "none", "more", "less"]
)
def test_a_state_of_another_release_is_no_server_of_ours(tmp_path: Path, change: dict[str, object]) -> None:
    folder = ServerFolder(tmp_path)
    folder.write(STATE)
    assert not folder.has_unknown_state
    path = tmp_path / "state.json"
    fields = {**json.loads(path.read_text()), **change}
    path.write_text(json.dumps({name: value for name, value in fields.items() if value is not ...}))
    assert folder.state() is None and folder.has_unknown_state
    assert folder.phase(folder.state()) is Phase.absent


@pytest.mark.parametrize("text", ["", "{", "[]", "1", '"format"', "null", '{"format": 1}'])
def test_a_damaged_state_is_no_server_of_ours(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text)
    assert ServerFolder(tmp_path).state() is None and ServerFolder(tmp_path).has_unknown_state


@pytest.mark.parametrize(
    ("supervisor", "ready", "ended", "phase"),
    [
        (None, "", "", Phase.launching),
        (None, "", "this", Phase.ended),
        (THIS, "", "", Phase.starting),
        (THIS, "an earlier one", "an earlier one", Phase.starting),
        (THIS, "this", "", Phase.ready),
        (DEAD, "this", "", Phase.orphaned),
        (DEAD, "this", "this", Phase.ended),
    ],
)
def test_the_phase_is_that_of_the_last_server(
    tmp_path: Path, supervisor: ProcessId | None, ready: str, ended: str, phase: Phase
) -> None:
    folder = ServerFolder(tmp_path)
    assert folder.phase(folder.state()) is Phase.absent
    folder.write(ServerState("this", "run", THIS, supervisor))
    if ready:
        folder.mark_ready(ready)
    if ended:
        folder.write(ServerEnd(ended, "killed"))
    assert folder.phase(folder.state()) is phase
