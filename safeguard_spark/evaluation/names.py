"""Names: how well a verdict names categories and rules."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

from safeguard_spark.evaluation.measures import Count, Measure, Metric, measure


class CategoryCount(NamedTuple):
    """A number of contents with the same category by people and in the verdict.

    `expected`: a category, or violation, safe, unknown; `predicted`: a category, or violation, safe, unreadable.
    """

    policy: str
    expected: str
    predicted: str
    contents: int


class NameCount(NamedTuple):
    """A number of contents for which people, the verdict, or both name a rule (`rule:ID`) or a category
    (`category:NAME`).

    `expected`: whether people called them a violation; `named`: whether people gave this name; `predicted`: whether the
    verdict did, None if it could not be read.
    """

    policy: str
    name: str
    expected: bool
    named: bool
    predicted: bool | None
    contents: int


def name_metrics(golden_set: str, counts: Iterable[NameCount]) -> list[Metric]:
    """Precision, recall and F1 of each rule and category. The name is the metric's `slice`.

    Where people named nothing of a kind, only precision is known: of the contents with the name, the violations.
    """
    by_kind: dict[tuple[str, str], list[NameCount]] = defaultdict(list)
    for count in counts:
        by_kind[count.policy, count.name.partition(":")[0]].append(count)
    metrics = []
    for (policy, _), of_kind in sorted(by_kind.items()):
        is_named = any(count.named for count in of_kind)
        rows = [
            Count(policy, count.name, count.named if is_named else count.expected, count.predicted, count.contents)
            for count in of_kind
        ]
        known = (Measure.recall, Measure.precision, Measure.f1) if is_named else (Measure.precision,)
        # Contents without the name on either side are not counted, so there are no true negatives.
        metrics += [replace(metric, tn=None) for metric in measure(golden_set, rows) if metric.metric in known]
    return metrics
