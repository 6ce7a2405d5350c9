"""Requests for an engine under test, and short waits."""

from collections.abc import Iterable, Iterator
from typing import Any

from safeguard_spark.config.engine import Dialect, EndpointConfig
from safeguard_spark.engines.endpoint import EndpointEngine
from safeguard_spark.engines.timings import Timings
from safeguard_spark.labelling import prompt
from safeguard_spark.labelling.content import from_text
from safeguard_spark.labelling.engine import Answer, CallSpec, Request
from safeguard_spark.policy.document import Effort
from tests.build import call_spec
from tests.faulty_server import FaultyServer

FAST = Timings(
    back_off_s=0.01, unreachable_s=0.3, accepted_s=0.5, start_again_s=0.1, evidence_s=0.1, warm_up_s=0.2, stalled_s=0.5,
    watch_s=0.1, probe_s=0.4, start_poll_s=0.05, supervise_s=0.05, grace_s=0.3,
)  # fmt: skip


def config(url: str, **settings: Any) -> EndpointConfig:
    """An endpoint's configuration."""
    return EndpointConfig(**{"model": "m", "url": url, "deadline_s": 20.0, "patience_s": 3.0, **settings})


def requests(count: int, dialect: Dialect = Dialect.harmony) -> Iterator[Request]:
    """Rows numbered from 0."""
    for number in range(count):
        content = from_text(f"row {number} is here")
        if dialect is Dialect.chat:
            yield Request(number, prompt.chat("A policy.", content))
        else:
            yield Request(number, prompt.harmony("A policy.", Effort.low, content))


def ask(
    server: FaultyServer | str,
    count: int = 5,
    window: int = 4,
    spec: CallSpec | None = None,
    timings: Timings = FAST,
    **settings: Any,
) -> list[Answer]:
    """Send rows to a server, or an address; every row has one answer, and no failure quotes the server or the row."""
    url = server if isinstance(server, str) else server.url
    spec = spec or call_spec(settings.get("dialect", Dialect.harmony))
    with EndpointEngine(config(url, **settings), window, timings=timings) as engine:
        answers = list(engine.answers(spec, requests(count, spec.labeler.dialect)))
    assert sorted(answer.key for answer in answers) == list(range(count))
    assert not any("secret" in (answer.failure or "") or "row " in (answer.failure or "") for answer in answers)
    return answers


def failures(answers: Iterable[Answer]) -> set[str | None]:
    """The different failures among answers; None for a completion."""
    return {answer.failure for answer in answers}
