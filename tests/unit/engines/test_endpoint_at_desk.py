"""A person who waits for an endpoint learns soon that nothing answers there; a server that starts keeps its time."""

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from safeguard_spark.engines import factory
from safeguard_spark.engines.timings import AT_DESK
from safeguard_spark.errors import EngineError
from tests.engine_calls import FAST, ask, failures
from tests.faulty_server import Behavior, FaultyServer, always, closed, in_turn, malformed, slow, status
from tests.unit.commands import Safeguard
from tests.unit.samples import write_policy

pytestmark = pytest.mark.unit
DESK = replace(FAST, connect_s=0.5, unreachable_s=0.3, first_answer_s=0.5)


@contextlib.contextmanager
def listener(*, closes: bool) -> Iterator[str]:
    """The address of a program that accepts connections, and closes them or says nothing."""
    held = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    connection.close() if closes else held.append(connection)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)
    for connection in held:
        connection.close()


@contextlib.contextmanager
def nobody() -> Iterator[str]:
    """An address at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    yield f"http://127.0.0.1:{port}"


SILENT = {
    "closed port": (nobody, "connection refused"),
    "accepts and closes": (lambda: listener(closes=True), "connection closed"),
    "accepts and never answers": (lambda: listener(closes=False), "no answer within 0.5 s"),
}


@pytest.mark.parametrize(("address", "cause"), SILENT.values(), ids=SILENT)
def test_where_nothing_replies_one_sentence_says_so_within_moments(
    monkeypatch: pytest.MonkeyPatch, safeguard: Safeguard, address: object, cause: str
) -> None:
    monkeypatch.setattr(factory, "AT_DESK", DESK)
    write_policy(Path("policies"))
    started = time.monotonic()
    with address() as url:  # type: ignore[operator]
        settings = ("engine.kind=endpoint", f"engine.url={url}", "engine.model=m")
        ran = safeguard("verify", "market", *(part for setting in settings for part in ("--set", setting)))
    assert time.monotonic() - started < 10
    assert (ran.code, ran.out) == (5, "")
    assert ran.err == (
        f"Error: Engine at {url} cannot be reached: {cause}; check engine.url and that the server runs.\n"
    )


FAILING = {
    "500": status(500),
    "502": status(502),
    "html": malformed(b"<html>"),
    "closed": closed(),
    "empty": malformed(b""),
}


@pytest.mark.parametrize("behavior", FAILING.values(), ids=FAILING)
def test_a_server_that_never_gives_an_answer_is_given_up_long_before_the_patience(behavior: Behavior) -> None:
    started = time.monotonic()
    with FaultyServer(always(behavior)) as server, pytest.raises(EngineError) as error:
        ask(server, 20, timings=DESK, patience_s=300.0, retries=2)
    assert time.monotonic() - started < 10
    text = str(error.value)
    assert text.endswith(" s; check the server and engine.url.") and "patience" not in text and "secret" not in text


@pytest.mark.parametrize("code", [503, 429])
def test_a_server_that_is_starting_or_busy_keeps_the_patience(code: int) -> None:
    with FaultyServer(in_turn(*[status(code, "1")] * 2)) as server:  # longer than a failing one has
        assert failures(ask(server, 3, timings=DESK, patience_s=30.0)) == {None}


def test_after_the_first_answer_an_outage_has_the_patience() -> None:
    timings = replace(DESK, first_answer_s=0.05)
    with FaultyServer(in_turn(slow(0.0), *[status(500)] * 6)) as server:
        assert failures(ask(server, 3, window=1, timings=timings, retries=1, patience_s=20.0)) == {None}


def test_a_slow_first_answer_is_announced_and_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "safeguard_spark.engines")
    with FaultyServer(in_turn(slow(1.5))) as server:
        assert failures(ask(server, 2, timings=DESK)) == {None}
        (record,) = caplog.records
        assert f"{server.url} took the first request 0.5 s ago and has not answered it." in record.getMessage()
        caplog.clear()
        assert failures(ask(server, 2)) == {None}
    assert not caplog.records


def test_half_a_minute_is_enough_for_everything_before_the_first_answer() -> None:
    assert AT_DESK.unreachable_s + AT_DESK.connect_s <= 30
    retries = sum(AT_DESK.back_off_s * 2**n for n in range(4))  # engine.retries
    assert retries + AT_DESK.first_answer_s <= 30
