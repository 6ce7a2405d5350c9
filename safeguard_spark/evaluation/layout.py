"""Layout: numbers as text, for reports."""

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


def share(rate: HasInterval | None) -> str:
    """A share with its interval, as .912 (.901 to .922); a hyphen where nothing could be measured."""
    if rate is None or rate.value is None or rate.low is None or rate.high is None:
        return "-"
    return f"{rate.value:.3f} ({rate.low:.3f} to {rate.high:.3f})"
