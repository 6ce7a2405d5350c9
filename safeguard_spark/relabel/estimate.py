"""Estimate: what calls will cost at the rates of past runs, with their spread. Without a past run, nothing is said."""

import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

NEWEST = 20  # past runs looked at
SHORT_S = 5.0  # a run shorter than this measures its start


class PastRun(NamedTuple):
    """A run of the same labeler: its calls, the wall seconds they took, tokens generated, engines."""

    calls: int
    seconds: float
    completion_tokens: int
    engines: int


class Spread(NamedTuple):
    """A median and the quartiles around it; with fewer than four values the lowest and the highest."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Of at least one value."""
        if len(values) < 4:
            return cls(min(values), statistics.median(values), max(values))
        low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(low, middle, high)

    def scaled(self, factor: float) -> "Spread":
        """Every value times a factor."""
        return Spread(*(value * factor for value in self))


class Estimate(NamedTuple):
    """What a number of calls will cost. `runs` is how many past runs it rests on."""

    runs: int
    calls_per_s: Spread  # of one engine
    completion_tokens: Spread
    engine_hours: Spread
    money: Spread | None

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {name: value._asdict() if isinstance(value, Spread) else value for name, value in self._asdict().items()}


def estimate_cost(calls: int, past: Sequence[PastRun], price: float | None = None) -> Estimate | None:
    """What `calls` will cost, or None where no past run tells. `price` is per engine-hour.

    Short runs are left out where there are longer ones.
    """
    known = [run for run in past if run.calls > 0 and run.seconds > 0][:NEWEST]
    known = [run for run in known if run.seconds >= SHORT_S] or known
    if not known:
        return None
    per_s = Spread.of([run.calls / run.seconds / max(1, run.engines) for run in known])
    tokens = Spread.of([run.completion_tokens / run.calls for run in known]).scaled(calls)
    hours = Spread(*(calls / rate / 3600 for rate in reversed(per_s)))
    return Estimate(len(known), per_s, tokens, hours, None if price is None else hours.scaled(price))


def estimate_text(found: Estimate | None, currency: str = "") -> str:
    """One line for people."""
    if found is None:
        return "no past run of this labeler, so no time is said"
    parts = [f"{_range(found.completion_tokens, '{:,.0f}')} tokens generated"]
    parts.append(f"{_range(found.engine_hours)} engine-hours")
    if found.money is not None:
        parts.append(f"{_range(found.money)} {currency}".rstrip())
    times = "1 past run" if found.runs == 1 else f"{found.runs} past runs"
    return f"{', '.join(parts)} (by {times}: {_range(found.calls_per_s, '{:,.1f}')} calls/s per engine)"


def _range(spread: Spread, form: str | None = None) -> str:
    low, median, high = ((form or ("{:,.2f}" if value >= 0.1 else "{:.2g}")).format(value) for value in spread)
    return median if low == high else f"{median} ({low} to {high})"
