"""Breaks: how long a person has worked without one. Pure."""

from collections.abc import Iterable

PAUSE_S = 5 * 60.0  # so long without a decision is a break
BREAK_AFTER_S = 45 * 60.0


def minutes_without_break(times: Iterable[float], now: float) -> int | None:
    """Minutes since a person's last break, if they are due another; None if not. `times` are those of decisions."""
    start = last = now
    for time in sorted(times, reverse=True):
        if last - time > PAUSE_S:
            break
        start = last = time
    return round((now - start) / 60) if now - start >= BREAK_AFTER_S else None
