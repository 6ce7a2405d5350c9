"""Estimate: what calls will cost at the rates of past runs, with their spread. Without a past run there is none."""

import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

MAX_RUNS = 20  # the newest past runs, which the estimate uses
SHORT_S = 5.0  # the rate of a run shorter than this is that of its start


class PastRun(NamedTuple):
    """A run of the same labeler: its calls, their wall time, generated tokens, engines."""

    calls: int
    seconds: float
    completion_tokens: int
    engines: int


class Spread(NamedTuple):
    """The median and the quartiles; with fewer than four values, the median, the lowest and the highest."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """The spread of at least one value."""
        if len(values) < 4:
            return cls(min(values), statistics.median(values), max(values))
        low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(low, middle, high)

    def scaled(self, factor: float) -> "Spread":
        """Every value times a factor."""
        return Spread(*(value * factor for value in self))


class Estimate(NamedTuple):
    """What a number of calls will cost. `runs` is the number of past runs it is based on."""

    runs: int
    calls_per_s: Spread  # of one engine
    completion_tokens: Spread
    engine_hours: Spread
    money: Spread | None

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {name: value._asdict() if isinstance(value, Spread) else value for name, value in self._asdict().items()}


def estimate_cost(calls: int, past: Sequence[PastRun], price: float | None = None) -> Estimate | None:
    """What `calls` will cost, or None without a past run. `price` is per engine-hour.

    Short runs are only used if there are no longer ones.
    """
    runs = [run for run in past if run.calls > 0 and run.seconds > 0][:MAX_RUNS]
    runs = [run for run in runs if run.seconds >= SHORT_S] or runs
    if not runs:
        return None
    per_s = Spread.of([run.calls / run.seconds / max(1, run.engines) for run in runs])
    tokens = Spread.of([run.completion_tokens / run.calls for run in runs]).scaled(calls)
    hours = Spread(*(calls / rate / 3600 for rate in reversed(per_s)))
    return Estimate(len(runs), per_s, tokens, hours, None if price is None else hours.scaled(price))


def estimate_text(estimate: Estimate | None, currency: str = "") -> str:
    """One line for people."""
    if estimate is None:
        return "no past run of this labeler, so time cannot be estimated"
    parts = [f"{_range(estimate.completion_tokens, '{:,.0f}')} tokens generated"]
    parts.append(f"{_range(estimate.engine_hours)} engine-hours")
    if estimate.money is not None:
        parts.append(f"{_range(estimate.money)} {currency}".rstrip())
    times = "1 past run" if estimate.runs == 1 else f"{estimate.runs} past runs"
    return f"{', '.join(parts)} (by {times}: {_range(estimate.calls_per_s, '{:,.1f}')} calls/s per engine)"


def _range(spread: Spread, form: str | None = None) -> str:
    low, median, high = ((form or ("{:,.2f}" if value >= 0.1 else "{:.2g}")).format(value) for value in spread)
    return median if low == high else f"{median} ({low} to {high})"
