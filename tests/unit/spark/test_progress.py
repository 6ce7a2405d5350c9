"""The progress bar: what it says with reports from the tasks, and without any."""

import contextlib
import io
import socket
from collections import Counter
from collections.abc import Iterator

import pyarrow as pa
import pytest

from safeguard_spark.spark.label.executor import Recipe, label_batches
from safeguard_spark.spark.label.progress import Address, Bar, Listener, Report, Reporter
from tests.build import SCRIPT, label_spec, policy, posts, run_config, until

pytestmark = pytest.mark.unit


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def listener(clock: Clock) -> Iterator[Listener]:
    listener = Listener("127.0.0.1", clock)
    yield listener
    listener.close()


def closed_port() -> int:
    """A port that nobody listens to."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def label(address: Address | None, count: int = 40) -> int:
    """Label contents as a Spark task does that reports to this address; returns the rows of the results."""
    config = run_config(engine={"kind": "scripted", "args": SCRIPT})
    recipe = Recipe(config, label_spec(policy()), "r", 4, address)
    texts = [text for _, text in posts(count)]
    batch = pa.RecordBatch.from_pydict({"work_key": [f"w{n}" for n in range(count)], "text": texts})
    return sum(result.num_rows for result in label_batches(recipe)(iter([batch])))


def chunk(rows: int) -> Counter[str]:
    return Counter(rows=rows, called=rows, prompt=100 * rows, completion=10 * rows, cached=50 * rows)


def test_the_totals_and_outcomes_of_the_tasks_reach_the_driver(listener: Listener) -> None:
    bar = Bar(listener, 100)
    assert label(listener.address) == label(listener.address) == 40
    until(lambda: listener.totals()["rows"] == 80)
    assert listener.outcomes() == {"labelled": 80} and listener.totals()["called"] == 80
    assert bar.line().startswith("80/100 rows  80 rows/s") and "labelled 80" in bar.line()
    assert "cache" in bar.line() and "ETA 0:00" in bar.line()
    assert "progress reports" not in bar.line() and "STALLED" not in bar.line()


def test_a_task_that_has_begun_but_has_no_row_waits_for_the_engine(listener: Listener, clock: Clock) -> None:
    bar = Bar(listener, 100)
    with Reporter(listener.address):
        until(lambda: listener.has_reports)
        clock.now += 90
        assert "waiting for the engine, 90 s" in bar.line() and "progress reports" not in bar.line()


def test_after_a_minute_without_a_row_a_run_is_stalled(listener: Listener, clock: Clock) -> None:
    bar = Bar(listener, 100)
    label(listener.address)
    until(lambda: listener.totals()["rows"] == 40)
    clock.now += 50
    assert "STALLED" not in bar.line()
    clock.now += 20
    assert "STALLED: no row finished for 70 s" in bar.line()


@pytest.mark.parametrize("host", ["127.0.0.1", "203.0.113.1", "no.such.host.invalid"])
def test_if_no_datagram_arrives_the_bar_moves_with_each_chunk_and_the_engine_is_not_blamed(
    host: str, listener: Listener, clock: Clock
) -> None:
    bar = Bar(listener, 100)
    assert label((host, closed_port(), "token")) == 40  # the task itself does not suffer
    clock.now += 10
    assert bar.line().endswith("starting")
    clock.now += 290
    assert bar.line().startswith("0/100 rows")
    assert "no progress reports arrive: the bar moves with each finished chunk, none in 300 s" in bar.line()
    listener.add_chunk(chunk(40))
    clock.now += 100
    listener.add_chunk(chunk(20))
    clock.now += 70
    line = bar.line()
    assert line.startswith("60/100 rows  0 rows/s  14 tok/s  cache 50%")
    assert "no progress reports arrive: the bar moves with each finished chunk, the last 70 s ago" in line
    assert "engine" not in line and "STALLED" not in line


def test_a_finished_chunk_counts_its_rows_once_if_its_tasks_had_reported_them(listener: Listener) -> None:
    label(listener.address)
    until(lambda: listener.totals()["rows"] == 40)
    listener.add_chunk(chunk(40))
    assert listener.totals()["rows"] == 40
    label(listener.address, 20)
    until(lambda: listener.totals()["rows"] == 60)


def test_datagrams_that_are_not_ours_are_ignored(listener: Listener) -> None:
    host, port, token = listener.address
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for datagram in (b"", b"\xff\x00", b"[1]", b'{"token": "another", "task": "t", "totals": {"rows": 9}}'):
            sender.sendto(datagram, (host, port))
    label((host, port, token), 20)
    until(lambda: listener.totals()["rows"] == 20)


def test_an_address_that_is_not_this_machines_still_opens_a_listener() -> None:
    listener = Listener("203.0.113.1")
    assert listener.address[0] == "203.0.113.1"  # tasks send there: on Kubernetes it is a service
    listener.close()


def test_on_a_pipe_the_bar_is_a_line_every_so_often(listener: Listener) -> None:
    file = io.StringIO()
    with Bar(listener, 100, file, line_interval_s=0.01):
        listener.add_chunk(chunk(40))
        until(lambda: "40/100 rows" in file.getvalue())
    lines = file.getvalue().splitlines()
    assert len(lines) >= 1 and all("/100 rows" in line for line in lines)


def test_tasks_that_ended_are_counted_once_and_not_kept() -> None:
    with contextlib.closing(Listener("127.0.0.1")) as listener:
        for _ in range(40):
            with Reporter(listener.address):
                pass
        host, port, token = listener.address
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for has_ended in (False, True, False):  # the last one is late
                report = Report(
                    token=token, task="t", totals=Counter(rows=5), outcomes=Counter(labelled=5), oldest_s=9.0,
                    has_ended=has_ended,
                )  # fmt: skip
                sender.sendto(report.model_dump_json().encode(), (host, port))
        until(lambda: listener.totals()["rows"] == 5 and not listener._reports)
        assert listener.outcomes() == Counter(labelled=5) and listener.oldest_s() == 0.0 and listener.has_reports
