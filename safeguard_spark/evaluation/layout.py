"""Layout: numbers and rows as text, for reports."""

from collections.abc import Sequence
from typing import Protocol


class HasInterval(Protocol):
    """A value and its interval; None where nothing could be measured."""

    @property
    def value(self) -> float | None:
        """The value."""

    @property
    def low(self) -> float | None:
        """Lower end."""

    @property
    def high(self) -> float | None:
        """Upper end."""


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join([first.ljust(widths[0]), *map(str.rjust, rest, widths[1:])]).rstrip() for first, *rest in rows]


def share(rate: HasInterval | None) -> str:
    """A share with its interval, as .912 (.901 to .922); a hyphen where nothing could be measured."""
    if rate is None or rate.value is None or rate.low is None or rate.high is None:
        return "-"
    return f"{rate.value:.3f} ({rate.low:.3f} to {rate.high:.3f})"
