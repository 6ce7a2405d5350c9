"""Outages in the label job: the run waits, or ends with its rows pending; only rows that fail alone pay for it."""

import json
import time

import pytest

from safeguard_spark.errors import ConfigError, EngineError, PolicyError, SafeguardError
from safeguard_spark.result import RunResult, Status
from tests.build import posts
from tests.faulty_server import ANSWER, Behavior, Call, FaultyServer, always, malformed, row_of, slow, status
from tests.spark.label.test_faults_engine import ROW, engine
from tests.spark.lake import Lake

pytestmark = pytest.mark.spark
FILTERED = status(400, raw=b'{"error": {"code": "content_filter", "message": "secret"}}')
REJECTED = status(400, raw=b'{"error": {"code": "json_validate_failed", "message": "secret"}}')


class Outage:
    """A server that answers until it has answered `after` requests, and then fails for `seconds`."""

    def __init__(self, behavior: Behavior, after: int, seconds: float, latency_s: float = 0.01) -> None:
        self.behavior, self.after, self.seconds, self.latency_s = behavior, after, seconds, latency_s
        self.began: float | None = None
        self.answered = self.failed = 0

    def __call__(self, call: Call) -> Behavior:
        if self.answered >= self.after:
            self.began = self.began or time.monotonic()
            if time.monotonic() - self.began < self.seconds:
                self.failed += 1
                return self.behavior
        self.answered += 1
        return slow(self.latency_s)


def attempts(lake: Lake) -> list[tuple[str, int, str]]:
    """Outcome, attempt and number of the label rows."""
    rows = lake.read("labels").groupBy("outcome", "attempt").count().collect()
    return sorted((row["outcome"], row["attempt"], row["count"]) for row in rows)


def label_through(lake: Lake, outage: Outage, rows: int, window: int, chunk_rows: int) -> RunResult:
    lake.write(posts(rows, ROW))
    with FaultyServer(outage) as server:
        settings = engine(server, window=window, deadline_s=3.0, patience_s=300.0)
        result = lake.label(engine=settings, run={"chunk_rows": chunk_rows})
        assert outage.began is not None
        assert len(server.calls) <= rows + outage.failed
    assert (
        outage.failed <= 2 * window + 2 * outage.seconds + 20
    )  # those in flight, and the few that ask whether it is over
    assert result.status is Status.complete and attempts(lake) == [("labelled", 1, rows)]
    return result


@pytest.mark.parametrize(
    "behavior", [status(503), pytest.param(status(429, "2"), marks=pytest.mark.slow)], ids=["503", "429"]
)
def test_a_run_waits_for_an_endpoint_that_is_out_for_a_while(lake: Lake, behavior: Behavior) -> None:
    result = label_through(lake, Outage(behavior, after=150, seconds=4.0), rows=400, window=8, chunk_rows=200)
    assert result.calls == 400


@pytest.mark.slow
@pytest.mark.parametrize("behavior", [status(503), status(500)], ids=["503", "500"])
def test_a_run_of_5000_rows_waits_for_an_endpoint_that_is_out_for_a_minute(lake: Lake, behavior: Behavior) -> None:
    label_through(
        lake, Outage(behavior, after=1500, seconds=60.0, latency_s=0.05), rows=5000, window=32, chunk_rows=1000
    )


def test_an_endpoint_that_is_out_for_good_leaves_its_rows_pending_for_the_next_run(lake: Lake) -> None:
    lake.write(posts(300, ROW))
    outage = Outage(status(503), after=90, seconds=999.0)
    with FaultyServer(outage) as server:
        first = lake.label(engine=engine(server, patience_s=2.0), run={"chunk_rows": 100})
    assert (first.status, first.exit_code) == (Status.partial, 6)
    assert first.outcomes == {"labelled": outage.answered} and first.pending == 300
    assert "does not answer: HTTP 503" in str(first.message) and "engine.patience_s" in str(first.message)
    assert f"{300 - outage.answered} contents stay pending." in str(first.message)
    with FaultyServer() as server:
        second = lake.label(engine=engine(server), run={"chunk_rows": 100})
        assert len(server.calls) == second.pending == 300 - outage.answered
    assert attempts(lake) == [("labelled", 1, 300)]


NEVER = {
    "503": (status(503), "does not answer: HTTP 503"),
    "429": (status(429, "432"), "the server asks to wait 432 s"),
    "402": (status(402), "refuses to work on this account"),
    "400": (REJECTED, "refuses the form of the requests: HTTP 400, json_validate_failed"),
}


@pytest.mark.slow
def test_an_endpoint_that_answers_nothing_is_exit_5_and_costs_no_attempt(lake: Lake) -> None:
    lake.write(posts(120, ROW))
    for behavior, message in NEVER.values():
        with FaultyServer(always(behavior)) as server:
            with pytest.raises(EngineError, match=message) as caught:
                lake.label(engine=engine(server, patience_s=1.5))
            assert caught.value.exit_code == 5 and len(server.calls) < 30
        assert lake.read("labels").count() == lake.read("runs").count() == 0
    with FaultyServer() as server:
        lake.label(engine=engine(server))
    assert attempts(lake) == [("labelled", 1, 120)]


SHORT = status(400, raw=b"""{"error": {"message": "This model's maximum context length is 600 tokens. secret"}}""")


@pytest.mark.parametrize(
    ("behavior", "settings", "error"),
    [(SHORT, {}, PolicyError), (ANSWER, {"api_key_env": "NO_SUCH_KEY"}, ConfigError)],
    ids=["policy", "key"],
)
def test_what_no_retry_mends_is_not_an_outage(
    lake: Lake, behavior: Behavior, settings: dict[str, str], error: type[SafeguardError]
) -> None:
    lake.write(posts(60, ROW))
    with FaultyServer(always(behavior)) as server, pytest.raises(error) as caught:
        lake.label(engine=engine(server, **settings))
    assert "secret" not in str(caught.value)
    assert lake.read("labels").count() == lake.read("runs").count() == 0


def test_each_row_that_fails_alone_has_its_own_outcome_and_no_other_is_touched(lake: Lake) -> None:
    rows = 5000

    def script(call: Call) -> Behavior:
        kinds = {1: FILTERED, 2: malformed(), 3: REJECTED}
        return kinds.get(row_of(call.text) % 100, ANSWER)

    lake.write(posts(rows, ROW))
    with FaultyServer(script) as server:
        result = lake.label(engine=engine(server, retries=1))
        # Ten malformed replies are asked for twice, and a control request now and then tells row from server.
        assert rows + 50 <= len(server.calls) <= rows + 50 + 125
    assert result.status is Status.partial
    failed = lake.read("labels").where("outcome != 'labelled'").collect()
    by_row = {int(row.content_id[1:]): (row.outcome, row.error) for row in failed}
    assert set(by_row) == {number for number in range(rows) if number % 100 in (1, 2, 3)}
    assert {by_row[number] for number in by_row if number % 100 == 2} == {
        ("engine_failed", "malformed reply, an HTML page")
    }
    rejected = {by_row[number] for number in by_row if number % 100 == 3}
    assert rejected == {("engine_failed", "HTTP 400, json_validate_failed")}
    assert len({by_row[number] for number in by_row if number % 100 == 1}) == 1
    assert lake.read("labels").count() == rows


@pytest.mark.slow
def test_the_form_of_the_requests_is_in_the_runs_row(lake: Lake) -> None:
    lake.write(posts(40, ROW))

    def script(call: Call) -> Behavior:
        return status(400) if "max_tokens" in call.body else ANSWER

    with FaultyServer(script) as server:
        lake.label(engine=engine(server, dialect="chat"))
    (run,) = lake.read("runs").collect()
    (form,) = json.loads(run.config)["engine_forms"]
    assert form["path"] == "/v1/chat/completions" and form["limit_field"] == "max_completion_tokens"


@pytest.mark.slow
def test_a_model_of_another_kind_is_named_after_its_first_answers_and_leaves_no_label(lake: Lake) -> None:
    lake.write(posts(90, ROW))
    prose = json.dumps({"choices": [{"text": "Nothing to see here.", "finish_reason": "stop"}]}).encode()

    def behave(call: Call) -> Behavior:
        return ANSWER if "chat" in call.path else malformed(prose) if call.path == "/v1/completions" else status(404)

    with FaultyServer(behave) as server:
        with pytest.raises(ConfigError, match=r"None of the first 20 answers .* set engine\.dialect=chat"):
            lake.label(engine=engine(server))
        assert len(server.calls) < 45 and lake.read("labels").count() == 0
        result = lake.label(engine=engine(server, dialect="chat"))
    assert (result.status, result.outcomes) == (Status.complete, {"labelled": 90})
