"""Set listing: which golden sets there are, and whether their data is here."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from safeguard_spark.errors import SourceError
from safeguard_spark.evaluation.sets import GoldenSet, verify_file


class DataState(StrEnum):
    """Whether the data of a set is here."""

    here = "here"
    missing = "missing"
    differs = "differs"  # another file is in its place
    elsewhere = "elsewhere"  # a table or a URL, which is not looked at


class SetStatus(NamedTuple):
    """A set and the state of its data. `advice`: what to do if it is not here, in words."""

    ref: str
    data: DataState
    path: str
    policies: tuple[str, ...]
    slices: tuple[str, ...]
    licence: str
    may_redistribute: bool
    description: str
    contamination: str
    advice: str = ""


def status_of(golden_set: GoldenSet) -> SetStatus:
    """The state of a set's data. Reads the file, to compare its SHA-256; downloads nothing."""
    manifest, location = golden_set.manifest, golden_set.location
    state, advice = DataState.here, ""
    path = Path(location)
    if not path.is_absolute():
        state = DataState.elsewhere
    elif not path.exists():
        state, advice = DataState.missing, manifest.download or f"Correct `location` in {golden_set.path}."
    elif path.is_file():
        try:
            verify_file(manifest, path)
        except SourceError as error:
            state, advice = DataState.differs, str(error)
    return SetStatus(
        ref=manifest.ref,
        data=state,
        path=location,
        policies=tuple(manifest.mapping),
        slices=manifest.slices,
        licence=manifest.licence,
        may_redistribute=manifest.may_redistribute,
        description=manifest.description,
        contamination=manifest.contamination,
        advice=advice,
    )


def listing_text(statuses: Sequence[SetStatus], *, in_full: bool) -> str:
    """One line per set; `in_full` with everything that is known of it."""
    if in_full:
        return "\n".join(map(_in_full, statuses))
    if not statuses:
        return "No golden sets.\n"
    width = max((len(status.ref) for status in statuses), default=0)
    lines = [f"{status.ref:{width}}  {status.data:9}  {', '.join(status.policies)}" for status in statuses]
    return "\n".join([*lines, "", "One set, and what to download for it: safeguard sets NAME", ""])


def _in_full(status: SetStatus) -> str:
    copies = "may be passed on" if status.may_redistribute else "may not be passed on"
    lines = [
        f"{status.ref}: {status.description or 'no description'}",
        f"  answers for    {', '.join(status.policies)}",
        *([f"  slices         {', '.join(status.slices)}"] if status.slices else []),
        f"  licence        {status.licence}, {copies}",
        *([f"  contamination  {status.contamination}"] if status.contamination else []),
        f"  data           {status.data}: {status.path}",
        *([f"  to do          {status.advice}"] if status.advice else []),
    ]
    return "\n".join([*lines, ""])
