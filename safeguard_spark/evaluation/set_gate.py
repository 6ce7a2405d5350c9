"""Set gate: whether the labels of golden sets show what is required of them.

A floor is decided on the exact one-sided lower bound of the share at 95 %, a ceiling on the upper bound. A line is met
if the bound shows it, refused if the other bound excludes it, and otherwise cannot be shown with so few contents. An
unreadable answer is a wrong one here, whatever rule the figures use.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from safeguard_spark.authoring.requirement import Bound, Requirement
from safeguard_spark.evaluation.intervals import lower_bound, smallest_n, upper_bound
from safeguard_spark.evaluation.measures import (
    SHARES,
    Confusion,
    Count,
    ItemCount,
    Measure,
    Share,
    confusions,
    item_share,
)
from safeguard_spark.policy.document import ALL, SetGate

MAX_VALUES = 10  # of a slice's column, in a message
# What a share is of, and what a further content must be for the requirement to come nearer.
NOUNS = {
    Measure.recall: ("positives", "all of them flagged"),
    Measure.precision: ("flagged contents", "all of them violations"),
    Measure.false_positive_rate: ("negatives", "none of them flagged"),
    Measure.unreadable_rate: ("contents", "all of them readable"),
    Measure.exact_match: ("contents", "all of them right"),
}


class Decision(StrEnum):
    """What the bounds say about a requirement."""

    met = "met"
    refused = "refused"
    not_shown = "not_shown"  # too few contents to tell


class SetCounts(NamedTuple):
    """The counted verdicts on one set, of all slices."""

    counts: Sequence[Count]
    items: Sequence[ItemCount] = ()


@dataclass(frozen=True)
class SetGateLine:
    """One requirement and what the set shows of it.

    `proved`: the bound that decides, None without contents. `needed`: the fewest contents that show it if every further
    one is right; None if it is decided, or no number can show it. `note`: why there are no contents.
    """

    set: str
    policy: str
    slice: str
    metric: Measure
    bound: Bound
    required: float
    decision: Decision
    value: float | None
    proved: float | None
    n: int
    needed: int | None
    note: str = ""

    @property
    def met(self) -> bool:
        """Whether the requirement is shown."""
        return self.decision is Decision.met

    def __str__(self) -> str:
        where = " ".join(part for part in (self.set, self.policy, self.slice) if part != ALL)
        bound = "at least" if self.bound is Bound.minimum else "at most"
        value = "" if self.value is None else f" {self.value:.4g}"
        return f"{where}: {self.metric}{value}, {bound} {self.required:g} is required: {self.reason}"

    @property
    def reason(self) -> str:
        """What the bounds say, and how many contents would be enough."""
        noun, further = NOUNS[self.metric]
        if self.decision is not Decision.not_shown:
            shown_side = (self.bound is Bound.minimum) == self.met
            side = "at least" if shown_side else "at most"
            return f"{self.decision}, {side} {self.proved:.4g} with 95 % confidence ({self.n} {noun})"
        if self.note:
            return f"cannot be shown: {self.note}"
        if self.needed is None:
            return f"cannot be shown by any number of {noun}"
        more = f"{self.needed - self.n} more, {further}"
        return f"cannot be shown: {self.n} {noun}, {self.needed} are needed ({more})"

    @property
    def requirement(self) -> Requirement:
        """The same as a line of a promotion's gate, whose value is the bound that decides."""
        where = " ".join(part for part in (self.set, self.policy, self.slice) if part != ALL)
        value = "nothing" if self.value is None else f"{self.value:.4g}"
        note = f"{value} observed; {self.reason}"
        return Requirement(f"{where} {self.metric}", self.bound, self.required, self.proved, note)

    def to_json(self) -> dict[str, Any]:
        """For programs: as `evaluate --json` prints it in `gate`."""
        return {
            "set": self.set,
            "policy": self.policy,
            "slice": self.slice,
            "metric": self.metric,
            "bound": self.bound,
            "required": self.required,
            "decision": self.decision,
            "met": self.met,
            "value": self.value,
            "proved": self.proved,
            "n": self.n,
            "needed": self.needed,
            "sentence": str(self),
        }


def decide(gates: Sequence[SetGate], sets: Mapping[str, SetCounts]) -> list[SetGateLine]:
    """Every line of every gate, in order. `sets`: by name@version. A set or policy without counts shows nothing."""
    return [line for gate in gates for line in _lines(gate, sets)]


def gold_line(metric: Measure, required: float, share: Share | None) -> Requirement:
    """A floor on a share of the decisions that people made. None: there are none."""
    line = _line("gold", ALL, ALL, metric, Bound.minimum, required, share or Share(0, 0), "")
    return line.requirement


def _lines(gate: SetGate, sets: Mapping[str, SetCounts]) -> Iterator[SetGateLine]:
    refs = [ref for ref in sets if gate.set in (ref, ref.partition("@")[0])]
    for ref in refs or [gate.set]:
        counts, items = sets.get(ref, SetCounts(()))
        cells = confusions(counts)
        policies = sorted({policy for policy, _ in cells}) if gate.policy is None else [gate.policy]
        note = _slice_note(ref, gate.slice, counts) if refs else "the set was not evaluated"
        for key, required in gate.requirements.items():
            bound, _, name = key.partition("_")
            metric = Measure(name)
            if metric is Measure.exact_match:
                share = item_share(item for item in items if item.slice == gate.slice)
                yield _line(ref, ALL, gate.slice, metric, Bound(bound), required, share, note)
                continue
            for policy in policies or [ALL]:
                share = SHARES[metric](cells.get((policy, gate.slice), Confusion()))
                yield _line(ref, policy, gate.slice, metric, Bound(bound), required, share, note)


def _slice_note(ref: str, slice_: str, counts: Sequence[Count]) -> str:
    """Why a slice has no contents, if no content of the set has its value."""
    column = slice_.partition("=")[0]
    slices = {count.slice for count in counts if count.slice.startswith(f"{column}=")}
    if slice_ in slices or not slices:
        return ""
    values = sorted(name.removeprefix(f"{column}=") for name in slices)
    more = ", …" if len(values) > MAX_VALUES else ""
    return f"no content of {ref} has {slice_}; its values of {column} are {', '.join(values[:MAX_VALUES])}{more}"


def _line(
    golden_set: str, policy: str, slice_: str, metric: Measure, bound: Bound, required: float, share: Share, note: str
) -> SetGateLine:
    hits, n = share
    # A ceiling on a share is a floor on the rest.
    right, floor = (hits, required) if bound is Bound.minimum else (n - hits, 1 - required)
    low, high = lower_bound(right, n), upper_bound(right, n)
    if n and low >= floor:
        decision, proved = Decision.met, low
    elif n and high < floor:
        decision, proved = Decision.refused, high
    else:
        decision, proved = Decision.not_shown, low
    return SetGateLine(
        set=golden_set,
        policy=policy,
        slice=slice_,
        metric=metric,
        bound=bound,
        required=required,
        decision=decision,
        value=hits / n if n else None,
        proved=None if not n else proved if bound is Bound.minimum else 1 - proved,
        n=n,
        needed=smallest_n(floor, n - right) if decision is Decision.not_shown else None,
        note=note,
    )
