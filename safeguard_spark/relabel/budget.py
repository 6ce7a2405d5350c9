"""Budget: how many calls or how much time a run may spend, and whether its next chunk fits."""

import re
import time
from dataclasses import dataclass, field

from safeguard_spark.errors import ConfigError
from safeguard_spark.terminal import counted

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
PART = re.compile(r"(\d[\d,_]*(?:\.\d+)?)\s*(calls?|[smhd])(?=$|[\s,+])")


@dataclass(frozen=True)
class Budget:
    """Upper bounds on calls and on time; None is no bound."""

    calls: int | None = None
    seconds: float | None = None

    def __str__(self) -> str:
        parts = [counted(self.calls, "call", "calls")] if self.calls is not None else []
        if self.seconds is not None:
            unit = next(unit for unit in "dhms" if self.seconds >= SECONDS[unit] or unit == "s")
            parts.append(f"{self.seconds / SECONDS[unit]:g} {unit}")
        return " and ".join(parts) or "nothing"

    def __bool__(self) -> bool:
        return self.calls is not None or self.seconds is not None


@dataclass
class Spent:
    """What a run has spent. The calls of a chunk count when it starts, so that two chunks in flight fit too."""

    calls: int = 0
    started: float = field(default_factory=time.monotonic)

    def allows(self, calls: int, budget: Budget) -> bool:
        """Whether a chunk of so many calls fits into the budget; if it does, it counts as started."""
        if budget.calls is not None and self.calls + calls > budget.calls:
            return False
        if budget.seconds is not None:
            elapsed = time.monotonic() - self.started
            expected = elapsed / self.calls * calls if self.calls else 0.0
            if elapsed + expected > budget.seconds:
                return False
        self.calls += calls
        return True


def parse_budget(text: str) -> Budget:
    """`2h`, `90m`, `1000000calls`, or calls and a time together. Raises ConfigError."""
    parts = PART.findall(text.strip().lower())
    rest = re.sub(r"[\s,+]", "", PART.sub("", text.strip().lower()))
    calls = [round(float(_plain(number))) for number, unit in parts if unit.startswith("call")]
    seconds = [float(_plain(number)) * SECONDS[unit] for number, unit in parts if unit in SECONDS]
    budget = Budget(calls[0] if calls else None, seconds[0] if seconds else None)
    if rest or not parts or len(calls) > 1 or len(seconds) > 1 or 0 in (budget.calls, budget.seconds):
        raise ConfigError(f"--budget {text}: write a time or calls, for example 2h, 90m or 1000000calls.")
    return budget


def _plain(number: str) -> str:
    return number.replace(",", "").replace("_", "")
