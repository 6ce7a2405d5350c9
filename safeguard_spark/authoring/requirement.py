"""Requirement: one line of a gate, a measured value against the least or the greatest value allowed."""

from enum import StrEnum
from typing import Any, NamedTuple


class Bound(StrEnum):
    """Which side of a requirement fails it."""

    minimum = "min"
    maximum = "max"


class Requirement(NamedTuple):
    """A measure and the bound it must keep. `value` is None where nothing could be measured: then it is not met."""

    measure: str
    bound: Bound
    required: float
    value: float | None
    note: str = ""

    @property
    def met(self) -> bool:
        """Whether the value was measured and keeps the bound."""
        if self.value is None:
            return False
        return self.value >= self.required if self.bound is Bound.minimum else self.value <= self.required

    def __str__(self) -> str:
        is_minimum = self.bound is Bound.minimum
        bound = f"{'at least' if is_minimum else 'at most'} {self.required:g} is required"
        note = f" ({self.note})" if self.note else ""
        if self.value is None:
            return f"{self.measure}: {bound} and nothing could be measured{note}"
        text = f"{self.measure}: {self.value:.4g}, {bound}"
        if self.met:
            return f"{text}{note}"
        return f"{text}, {'short' if is_minimum else 'over'} by {abs(self.value - self.required):.4g}{note}"

    def to_json(self) -> dict[str, Any]:
        """For programs: as `relabel promote --json` prints it and `policy_activations.gate` stores it."""
        return {
            "name": self.measure,
            "asked": self.required,
            "value": self.value,
            "is_least": self.bound is Bound.minimum,
            "note": self.note,
            "met": self.met,
        }
