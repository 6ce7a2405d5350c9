"""Indicators: every figure of a report, with its interval, what it counts and how it was made. Pure."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Any, NamedTuple

from safeguard_spark.evaluation.intervals import Rate
from safeguard_spark.review.estimate import (
    METHOD,
    MIN_DECISIONS,
    CorrectedRates,
    Judged,
    corrected_rates,
    share_with_bounds,
)
from safeguard_spark.review.sampling import ReviewStratum

EXACT = "Clopper-Pearson"
COUNT = "count"
SHARES = frozenset(
    ("violation_rate_model", "violation_rate", "precision", "recall", "accuracy", "error_rate", "overturned_share",
     "model_flagged_share", "screen_recall")
)  # fmt: skip
NO_VERDICT = "not measurable: no label has a verdict"
NO_SAMPLE = "not measurable: no estimating sample was drawn in the period"
TOO_SMALL = f"not measurable: fewer than {MIN_DECISIONS} decisions in a stratum, or no violation among them"
Row = Mapping[str, Any]
Key = tuple[str, str, str, str, str]  # of a sample: policy, version, labeler, collection, sample


class Known(StrEnum):
    """Which decisions and labels a report uses: those of the end of its period, or all that there are by now."""

    then = "then"
    now = "now"


@dataclass(frozen=True)
class Period:
    """The first and the last day of a report (UTC), and as of when it is known."""

    start: date
    end: date
    known: Known = Known.now

    def __str__(self) -> str:
        as_of = "as it stood at its end" if self.known is Known.then else "as known now"
        return f"{self.start} to {self.end}, {as_of}"


class Indicator(NamedTuple):
    """One figure. `value` is None where it cannot be measured; `note` then says why.

    `about`: the rule, queue or stratum that it is about; empty for a policy version as a whole.
    """

    name: str
    value: float | None
    policy: str = ""
    policy_version: str = ""
    labeler: str = ""
    collection: str = ""
    sample_id: str = ""
    about: str = ""
    low: float | None = None
    high: float | None = None
    n: int | None = None
    method: str = COUNT
    note: str = ""

    @property
    def is_share(self) -> bool:
        """Whether it is a share of 1 rather than a number of something."""
        return self.name in SHARES


class Active(NamedTuple):
    """A version that was active in the period, from its first to its last day there."""

    policy: str
    policy_version: str
    labeler: str
    start: date
    end: date
    reason: str
    forced: bool


@dataclass(frozen=True)
class Report:
    """The figures of a period. `days`: the views `daily_rates` by day and policy, within the period.

    `golden_sets`: the collections of golden sets that have labels in use, and how many. These are in no figure.
    """

    period: Period | None
    indicators: tuple[Indicator, ...]
    active: tuple[Active, ...] = ()
    days: tuple[Row, ...] = ()
    currency: str = ""
    golden_sets: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        return {
            "period": None
            if self.period is None
            else {**self.period.__dict__, "start": str(self.period.start), "end": str(self.period.end)},
            "indicators": [indicator._asdict() for indicator in self.indicators],
            "active": [{**row._asdict(), "start": str(row.start), "end": str(row.end)} for row in self.active],
            "golden_sets": dict(self.golden_sets),
            "status": "complete",
        }


def label_indicators(rates: Iterable[Row], rules: Iterable[Row]) -> Iterator[Indicator]:
    """Of the labels in use: contents, flagged ones, and those without a verdict. `rates`, `rules`: the views' rows.

    By a version's labeler and the screens that stand in for it together.
    """
    columns = ("contents", "flagged", "screened", "escalated", "not_judged")
    sums: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0] * len(columns))
    for row in rates:
        key = (row["policy"], row["policy_version"], row["collection"])
        sums[key] = [total + row[name] for total, name in zip(sums[key], columns, strict=True)]
    for (policy, version, collection), values in sorted(sums.items()):
        about = {"policy": policy, "policy_version": version, "collection": collection, "n": values[0]}
        for name, value in zip(columns, values, strict=True):
            yield Indicator(f"labels_{name}", value, **about)  # type: ignore[arg-type]
        judged = values[0] - values[-1]
        share = {"value": values[1] / judged if judged else None, "note": "" if judged else NO_VERDICT}
        method = "all labels in use with a verdict"
        yield Indicator("model_flagged_share", **{**about, **share, "n": judged}, method=method)  # type: ignore[arg-type]
    by_rule: dict[tuple[str, str, str, str], int] = defaultdict(int)
    for row in rules:
        by_rule[row["policy"], row["policy_version"], row["collection"], row["rule"]] += row["flagged"]
    for (policy, version, collection, rule), flagged in sorted(by_rule.items()):
        yield Indicator("labels_flagged", flagged, policy, version, "", collection, about=f"rule {rule}")


def screen_indicators(audits: Iterable[Row]) -> Iterator[Indicator]:
    """The recall of each screen, relative to the labeler that it stands in for. `audits`: its newest in the period."""
    for row in sorted(audits, key=lambda row: str(row["screen_id"])):
        key = (row["policy"], row["policy_version"], row["labeler"], row["collection"])
        yield Indicator(
            "screen_recall",
            row["recall"],
            *key,
            about=f"screen {row['screen_id']}",
            low=row["recall_low"],
            high=1.0,
            n=row["checked"],
            method=f"{EXACT} (one run) or Fay-Feuer (several), one-sided",
            note=f"of what the labeler finds; target {row['target']:.0%}, {row['finding'].replace('_', ' ')}",
        )


def sample_indicators(strata: Iterable[Row]) -> Iterator[Indicator]:
    """Of each estimating sample: the model's rate beside the corrected one, recall and precision. Newest sample first.

    `strata`: rows of the view `review_samples`.
    """
    by_sample: dict[str, list[Row]] = defaultdict(list)
    for row in strata:
        by_sample[row["sample_id"]].append(row)
    for rows in sorted(by_sample.values(), key=lambda rows: min(row["drawn_at"] for row in rows), reverse=True):
        yield from _sample(rows)


def _sample(rows: Sequence[Row]) -> Iterator[Indicator]:
    first = rows[0]
    draw = json.loads(first["draw"] or "{}")
    labeler = draw.get("labeler") or first["labeler"] or ""  # not the name of a screen that stands in for it
    key = (first["policy"], first["policy_version"], labeler, first["collection"], first["sample_id"])
    contents = _sizes(rows)
    judged = [
        Judged(ReviewStratum(row["stratum"]), violation, items, has_verdict)
        for row in rows
        for violation, column in ((True, "violations"), (False, "safe"), (None, "undecided"))
        for has_verdict, items in _by_verdict(row, column)
    ]
    not_judged = draw.get("not_judged", 0)  # draws of earlier releases do not say it
    rates, with_verdict = corrected_rates(judged, contents, not_judged), sum(contents.values()) - not_judged
    scope = draw.get("scope", "all")
    for name in ("items", "decided", "undecided", "changed"):
        note = "" if scope == "all" else f"drawn from a part of the source: {scope}"
        yield Indicator(f"sample_{name}", sum(row[name] for row in rows), *key, note=note)
    method = "all labels with a verdict that were sampled from"
    note = "" if with_verdict else NO_VERDICT
    yield Indicator("violation_rate_model", rates.model, *key, n=with_verdict, method=method, note=note)
    yield _measured("violation_rate", rates.corrected, key)
    for name in ("precision", "recall", "accuracy"):
        yield _measured(name, getattr(rates, name), key)
    yield _error_rate(rates, key)


def _by_verdict(row: Row, column: str) -> tuple[tuple[bool, int], ...]:
    """Of the items that a column counts, those whose label has a verdict, and the others."""
    others = row[f"{column}_not_judged"]
    return (True, row[column] - others), (False, others)


def _sizes(rows: Sequence[Row]) -> dict[ReviewStratum, int]:
    """The strata's sizes as the draw found them; also of a stratum without an item."""
    if rows[0]["draw"]:
        sizes = json.loads(rows[0]["draw"])["strata"]
    else:
        sizes = {row["stratum"]: row["stratum_size"] for row in rows}
    return {stratum: int(sizes.get(stratum.value, 0)) for stratum in ReviewStratum}


def _measured(name: str, rate: Rate | None, key: Key) -> Indicator:
    if rate is None:
        return Indicator(name, None, *key, method=METHOD, note=TOO_SMALL)
    return Indicator(name, rate.value, *key, low=rate.low, high=rate.high, n=rate.n, method=METHOD)


def _error_rate(rates: CorrectedRates, key: Key) -> Indicator:
    right = _measured("error_rate", rates.accuracy, key)
    if right.value is None or right.low is None or right.high is None:
        return right
    return right._replace(value=1 - right.value, low=1 - right.high, high=1 - right.low)


def overturn_indicators(overturns: Iterable[Row]) -> Iterator[Indicator]:
    """By rule and version, how often people say the opposite of a sampled label; other items are left out."""
    rows = [row for row in overturns if row["is_sample"]]
    for row in sorted(
        rows, key=lambda row: (row["policy"], row["policy_version"], not row["violation"], row["rule"] or "")
    ):
        key = (row["policy"], row["policy_version"], row["labeler"] or "")
        about = f"rule {row['rule']}" if row["rule"] else "flagged, no rule" if row["violation"] else "not flagged"
        rate = share_with_bounds(row["overturned"], row["decided"])
        if rate is not None:
            bounds = {"low": rate.low, "high": rate.high, "n": rate.n, "method": EXACT}
            yield Indicator("overturned_share", rate.value, *key, about=about, **bounds)  # type: ignore[arg-type]


def queue_indicators(queues: Iterable[Row]) -> Iterator[Indicator]:
    """What waits for people, how long they take, and what they overturned; counts, as queues are no random sample."""
    for row in sorted(queues, key=lambda row: (row["policy"], row["policy_version"], row["purpose"])):
        key, about = (row["policy"], row["policy_version"]), f"queue {row['purpose']}"
        for name in ("items", "decided", "waiting", "disputed", "overturned"):
            yield Indicator(f"review_{name}", row[name], *key, about=about)
        hours = row["median_hours"]
        if hours is not None:
            yield Indicator("hours_to_decision", hours, *key, about=about, n=row["decided"], method="median")


def cost_indicators(days: Iterable[Row], price: float | None) -> Iterator[Indicator]:
    """What the runs of the period used; `price` is that of an engine-hour, None if unknown."""
    columns = ("runs", "calls", "labels", "prompt_tokens", "cached_tokens", "completion_tokens", "engine_hours")
    sums = dict.fromkeys(columns, 0.0)
    for row in days:
        sums = {name: total + float(row[name] or 0) for name, total in sums.items()}
    for name, value in sums.items():
        yield Indicator(f"cost_{name}", value, method=COUNT if name != "engine_hours" else "seconds of runs x engines")
    if price is not None:
        yield Indicator(
            "cost_money", sums["engine_hours"] * price, method="engine-hours x relabel.price_per_engine_hour"
        )


def active_in(period: Period, rows: Iterable[Row], today: date) -> Iterator[Active]:
    """The versions of the view `active_versions` that were active in a period, up to today; its times are UTC."""
    last = min(period.end, today)
    for row in sorted(rows, key=lambda row: (row["policy"], row["active_from"])):
        until = row["active_until"].date() if row["active_until"] else last
        start, end = max(period.start, row["active_from"].date()), min(last, until)
        if start <= end:
            about = (row["policy"], row["policy_version"], row["labeler"] or "any")
            yield Active(*about, start, end, row["reason"] or "", bool(row["forced"]))


def without_samples(indicators: Iterable[Indicator]) -> Iterator[Indicator]:
    """For each version whose labels are in use and of which no sample was drawn, that its rates cannot be measured."""
    indicators = list(indicators)
    sampled = {(one.policy, one.policy_version) for one in indicators if one.name == "violation_rate"}
    in_use = {(one.policy, one.policy_version) for one in indicators if one.name == "labels_contents"}
    for policy, version in sorted(in_use - sampled):
        for name in ("violation_rate", "precision", "recall", "accuracy", "error_rate"):
            yield Indicator(name, None, policy, version, method=METHOD, note=NO_SAMPLE)
