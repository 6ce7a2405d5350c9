"""Cohort: what two evaluations must share before their numbers may stand in one figure."""

from collections.abc import Collection, Iterator
from typing import Self

from safeguard_spark.config.fields import Section
from safeguard_spark.evaluation.measures import Measure, Unreadable
from safeguard_spark.evaluation.sets import SetManifest
from safeguard_spark.keys import sha256
from safeguard_spark.policy.document import ALL


class Cohort(Section):
    """Contents, answers and the way of scoring. Two numbers are comparable if their cohorts are equal."""

    set: str
    """name@version"""
    sha256: str | None
    """SHA-256 of the data's file; null: not checked"""
    split: str | None
    """The split that the data is"""
    filter: str | None
    """SQL condition that selects the contents; null: all"""
    mapping: dict[str, str]
    """Policy to the column or SQL expression of its answers, of the policies that are measured"""
    metric: str
    """The metric of a figure; `*`: all of them, for a whole evaluation"""
    unreadable: Unreadable
    """How an unreadable answer counts"""
    left_out: tuple[str, ...] = ()
    """Rules, as `policy rule`, whose answers are unknown because a version changed them after people decided"""

    @classmethod
    def of(
        cls,
        manifest: SetManifest,
        policies: Collection[str],
        metric: Measure | None = None,
        unreadable: Unreadable = Unreadable.wrong,
        left_out: Collection[str] = (),
    ) -> Self:
        """The cohort of these policies on a set. Raises ConfigError for a policy that the set has no answers for."""
        return cls(
            set=manifest.ref,
            sha256=manifest.sha256,
            split=manifest.split,
            filter=manifest.filter,
            mapping=manifest.answers_for(policies),
            metric=ALL if metric is None else metric.value,
            unreadable=unreadable,
            left_out=tuple(sorted(left_out)),
        )

    @property
    def cohort_hash(self) -> str:
        """SHA-256 of the cohort."""
        return sha256(self.model_dump(mode="json"))


def differences(one: Cohort, other: Cohort) -> list[str]:
    """What differs between two cohorts, a phrase each; empty if their numbers may stand in one figure."""
    return list(_differences(one, other))


def _differences(one: Cohort, other: Cohort) -> Iterator[str]:
    pairs = {
        "the set": (one.set, other.set),
        "the data's SHA-256": (one.sha256 or "not checked", other.sha256 or "not checked"),
        "the split": (one.split or "none", other.split or "none"),
        "the filter": (one.filter or "none", other.filter or "none"),
        "the metric": (one.metric, other.metric),
        "unreadable answers": (one.unreadable.value, other.unreadable.value),
        "answers to decide again": (", ".join(one.left_out) or "none", ", ".join(other.left_out) or "none"),
    }
    for policy in sorted({*one.mapping, *other.mapping}):
        answers = (one.mapping.get(policy, "not measured"), other.mapping.get(policy, "not measured"))
        pairs[f"the answers for {policy}"] = answers
    for what, (first, second) in pairs.items():
        if first != second:
            yield f"{what}: {first} and {second}"
