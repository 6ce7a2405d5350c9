"""Second looks in the label job: what the label, the tokens, the raw outputs and the counts of calls are."""

import pytest

from safeguard_spark.labelling.rows import MIN_SECOND_LOOKS
from safeguard_spark.result import Status
from tests.build import posts
from tests.faulty_server import Call, FaultyServer, row_of, safe_answer
from tests.spark.label.test_faults_engine import ROW, engine
from tests.spark.lake import Lake

pytestmark = pytest.mark.spark


def hasty(call: Call) -> str:
    """Rows 2 and 5 have no answer at low effort, row 5 none at all."""
    unreadable = {2: ("low",), 5: ("low", "medium")}.get(row_of(call.text), ())
    effort = call.body["reasoning_effort"]
    return f"no answer at {effort}" if effort in unreadable else safe_answer(call)


def test_a_row_has_the_answer_that_could_be_read_and_what_both_calls_cost(lake: Lake) -> None:
    lake.write([*posts(8, ROW), ("copy", ROW.format(n=2)), ("blank", "")])
    with FaultyServer(text_of=hasty) as server:
        settings, low = engine(server, dialect="chat"), {"effort": "low"}
        first = lake.label(engine=settings, labeler=low)
        lake.write([("later", ROW.format(n=2))])
        second = lake.label(engine=settings, labeler=low)
        calls = [(row_of(call.text), call.body["reasoning_effort"]) for call in server.calls]
    assert sorted(calls) == sorted([*((n, "low") for n in range(8)), (2, "medium"), (5, "medium")])
    assert (first.status, first.calls, first.message) == (Status.complete, 10, None)
    assert first.outcomes == {"labelled": 8, "unparseable": 1, "empty": 1}
    assert (second.calls, second.written, second.pending) == (0, 1, 1)

    current = lake.current()
    assert {id: row.effort for id, row in current.items() if row.effort != "low"} == dict.fromkeys(
        ["p2", "copy", "later"], "medium"
    )
    assert {row.attempt for row in current.values()} == {1}
    paid = sorted([current["p2"].completion_tokens or 0, current["copy"].completion_tokens or 0])
    assert (paid, current["p5"].completion_tokens, current["p1"].completion_tokens) == ([0, 18], 18, 9)
    assert first.tokens["completion"] == 9 * 10 == sum(row.completion_tokens or 0 for row in current.values())
    runs = {row.run_id: row for row in lake.read("runs").collect()}
    assert (runs[first.run_id].calls, runs[second.run_id].calls) == (10, 0)
    assert runs[first.run_id].tokens["completion"] == 90

    answers: dict[str, list[str]] = {}  # the last one is that of the label
    for row in lake.read("reasoning").orderBy("labelled_at").collect():
        answers.setdefault(row.work_key, []).append(row.raw_output)
    assert sum(len(outputs) for outputs in answers.values()) == 10
    read, unread = answers[current["p2"].work_key], answers[current["p5"].work_key]
    assert read[0] == "no answer at low" and '"row 2"' in read[1]
    assert unread == ["no answer at medium", "no answer at low"]


@pytest.mark.slow
def test_without_second_looks_every_row_is_one_call_of_another_labeler(lake: Lake) -> None:
    lake.write(posts(8, ROW))
    with FaultyServer(text_of=hasty) as server:
        settings = engine(server, dialect="chat")
        none = lake.label(engine=settings, labeler={"effort": "low", "second_look": "none"})
        assert (none.calls, len(server.calls), none.outcomes) == (8, 8, {"labelled": 6, "unparseable": 2})
        assert lake.label(engine=settings, labeler={"effort": "low"}).calls == 10


@pytest.mark.slow
def test_a_run_says_that_its_second_looks_reached_their_bound(lake: Lake) -> None:
    lake.write(posts(40, "zzgarbage {n}"))  # one task
    result = lake.label()
    assert result.calls == lake.calls() == 40 + MIN_SECOND_LOOKS
    assert result.status is Status.complete
    assert f"{40 - MIN_SECOND_LOOKS} unreadable answers had no second look" in str(result.message)
    assert "market@1.0.0 could judge only 0 of 40 contents (unparseable 40): " in str(result.message)
    assert result.to_json()["judged"] == 0
    again = lake.label()
    assert (again.pending, again.calls, again.message) == (0, 0, None)
    # As the message says: once the server was corrected, they are called again.
    corrected = lake.label(engine={"version_class": "corrected", "args": {"misbehave": {}}})
    assert (corrected.pending, corrected.judged, corrected.outcomes) == (40, 40, {"labelled": 40})
    assert "could judge" not in str(corrected.message) and "relabel promote" in str(corrected.message)
