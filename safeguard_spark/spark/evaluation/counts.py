"""Counts: how many contents of a golden set have which answers and verdicts. Spark counts; it computes no rates.

Rows are grouped once, by everything that is counted. What follows reads those groups, which are few.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F

from safeguard_spark.evaluation.differences import ItemPairCount, PairCount, RepeatCount
from safeguard_spark.evaluation.measures import Count, ItemCount
from safeguard_spark.evaluation.names import CategoryCount, NameCount
from safeguard_spark.policy.document import ALL, Policy

CONTENTS = "contents"


@dataclass(frozen=True)
class Cells:
    """Groups of contents with the same slices, answers (`p0`, `p1`, …) and verdicts (`v0_0`: side 0, policy 0)."""

    frame: DataFrame
    policies: tuple[Policy, ...]

    def answer(self, policy: int, field: str) -> Column:
        """A field of what people answered."""
        return F.col(f"p{policy}.{field}")

    def verdict(self, side: int, policy: int, field: str = "violation") -> Column:
        """A field of a side's verdict."""
        return F.col(f"v{side}_{policy}.{field}")


@contextmanager
def grouped(answers: DataFrame, policies: Sequence[Policy], sides: Sequence[Sequence[DataFrame]]) -> Iterator[Cells]:
    """Join the verdicts of every side, in the order of the policies, and group. Cached until the block ends.

    A content without a verdict is one whose answer could not be read.
    """
    joined, keys = answers, ["slices", *(f"p{number}" for number in range(len(policies)))]
    for side, frames in enumerate(sides):
        for number, frame in enumerate(frames):
            name = f"v{side}_{number}"
            verdicts = frame.select("content_id", F.struct("violation", "category", "rule_ids").alias(name))
            joined, keys = joined.join(verdicts, on="content_id", how="left"), [*keys, name]
    cells = joined.groupBy(*keys).agg(F.count(F.lit(1)).alias(CONTENTS)).cache()
    try:
        yield Cells(cells, tuple(policies))
    finally:
        cells.unpersist()


def _summed(frame: DataFrame, *columns: str) -> list[Row]:
    return frame.groupBy(*columns).agg(F.sum(CONTENTS).alias(CONTENTS)).collect()


def _by_policy(cells: Cells, fields: Sequence[Any]) -> DataFrame:
    """One row per group, slice and policy; `fields` makes the columns of a policy's number."""
    per_policy = [
        F.struct(F.lit(policy.name).alias("policy"), *(make(number).alias(name) for name, make in fields))
        for number, policy in enumerate(cells.policies)
    ]
    slices = cells.frame.select("*", F.explode("slices").alias("slice"))
    return slices.select("slice", CONTENTS, F.explode(F.array(*per_policy)).alias("row")).select(
        "slice", CONTENTS, "row.*"
    )


def counts(cells: Cells, side: int = 0) -> list[Count]:
    """How many contents of each policy and slice have the same answer and verdict."""
    fields = [
        ("expected", lambda number: cells.answer(number, "expected")),
        ("predicted", lambda number: cells.verdict(side, number)),
    ]
    keys = ("policy", "slice", "expected", "predicted")
    return [Count(*row) for row in _summed(_by_policy(cells, fields), *keys)]


def pair_counts(cells: Cells, first: int, second: int) -> list[PairCount]:
    """How many contents of each policy and slice have the same answer and two verdicts."""
    fields = [
        ("expected", lambda number: cells.answer(number, "expected")),
        ("first", lambda number: cells.verdict(first, number)),
        ("second", lambda number: cells.verdict(second, number)),
    ]
    keys = ("policy", "slice", "expected", "first", "second")
    return [PairCount(*row) for row in _summed(_by_policy(cells, fields), *keys)]


def _is_right(cells: Cells, side: int) -> Column:
    """As `measures.is_right`: right under every policy with a known answer; null if there is none."""
    policies = range(len(cells.policies))
    known = F.greatest(F.lit(False), *(cells.answer(number, "expected").isNotNull() for number in policies))
    wrong = [
        cells.answer(number, "expected").isNotNull()
        & ~cells.answer(number, "expected").eqNullSafe(cells.verdict(side, number))
        for number in policies
    ]
    return F.when(known, ~F.greatest(F.lit(False), *wrong))


def item_counts(cells: Cells, side: int = 0) -> list[ItemCount]:
    """How many contents of each slice are right under every policy."""
    unreadable = [
        cells.answer(number, "expected").isNotNull() & cells.verdict(side, number).isNull()
        for number in range(len(cells.policies))
    ]
    frame = cells.frame.select(
        F.explode("slices").alias("slice"),
        _is_right(cells, side).alias("right"),
        F.greatest(F.lit(False), *unreadable).alias("unreadable"),
        CONTENTS,
    )
    return [ItemCount(*row) for row in _summed(frame, "slice", "right", "unreadable")]


def item_pair_counts(cells: Cells, first: int, second: int) -> list[ItemPairCount]:
    """How many contents of each slice are right under every policy by both sides, by one, by none."""
    frame = cells.frame.select(
        F.explode("slices").alias("slice"),
        _is_right(cells, first).alias("first"),
        _is_right(cells, second).alias("second"),
        CONTENTS,
    ).where("first IS NOT NULL")
    return [ItemPairCount(*row) for row in _summed(frame, "slice", "first", "second")]


def repeat_counts(cells: Cells, sides: Sequence[int]) -> list[RepeatCount]:
    """How many contents of each policy and slice have the same numbers of answers of each kind over some sides."""

    def number_of(holds: Any) -> Any:
        return lambda number: sum((holds(cells.verdict(side, number)).cast("int") for side in sides), F.lit(0))

    fields = [
        ("violation", number_of(lambda violation: violation.eqNullSafe(F.lit(True)))),
        ("safe", number_of(lambda violation: violation.eqNullSafe(F.lit(False)))),
        ("unreadable", number_of(lambda violation: violation.isNull())),
    ]
    keys = ("policy", "slice", "violation", "safe", "unreadable")
    return [RepeatCount(*row) for row in _summed(_by_policy(cells, fields), *keys)]


def decide_again_counts(cells: Cells) -> dict[str, int]:
    """How many answers are to be decided again, by policy."""
    fields = [("again", lambda number: cells.answer(number, "decide_again"))]
    rows = _summed(_by_policy(cells, fields).where(F.col("slice") == ALL).where("again"), "policy")
    return {row["policy"]: row[CONTENTS] for row in rows}


def category_counts(cells: Cells, side: int = 0) -> list[CategoryCount]:
    """How many contents of each policy have the same category by people and in the verdict."""

    def label(violation: Column, category: Column, missing: str) -> Column:
        named = F.coalesce(category, F.lit("violation"))
        return F.when(violation.isNull(), missing).otherwise(F.when(violation, named).otherwise("safe"))

    fields = [
        ("expected", lambda n: label(cells.answer(n, "expected"), cells.answer(n, "category"), "unknown")),
        ("predicted", lambda n: label(cells.verdict(side, n), cells.verdict(side, n, "category"), "unreadable")),
    ]
    frame = _by_policy(cells, fields).where(F.col("slice") == ALL)
    return [CategoryCount(*row) for row in _summed(frame, "policy", "expected", "predicted")]


def name_counts(cells: Cells, side: int = 0) -> list[NameCount]:
    """How many contents of each policy have a rule or category named by people, in the verdict, or in both.

    Where people named none in the whole policy, `expected` is whether they called it a violation.
    """
    empty = F.array().cast("array<string>")

    def names(prefix: str, values: Column) -> Column:
        return F.transform(F.coalesce(values, empty), lambda name: F.concat(F.lit(f"{prefix}:"), name))

    def one(value: Column) -> Column:
        return F.when(value.isNotNull(), F.array(value))

    def by(rules: Column, category: Column) -> Column:
        return F.concat(names("rule", rules), names("category", one(category)))

    def rows(number: int) -> Column:
        expected, violation = cells.answer(number, "expected"), cells.verdict(side, number)
        gold = F.when(expected, by(cells.answer(number, "rules"), cells.answer(number, "category"))).otherwise(empty)
        verdict = F.when(
            violation, by(cells.verdict(side, number, "rule_ids"), cells.verdict(side, number, "category"))
        ).otherwise(empty)
        return F.transform(
            F.array_union(gold, verdict),
            lambda name: F.struct(
                name.alias("name"),
                F.array_contains(gold, name).alias("named"),
                F.when(~(violation.isNull() & F.array_contains(gold, name)), F.array_contains(verdict, name)).alias(
                    "predicted"
                ),
            ),
        )

    fields = [("expected", lambda number: cells.answer(number, "expected")), ("names", rows)]
    frame = _by_policy(cells, fields).where((F.col("slice") == ALL) & F.col("expected").isNotNull())
    frame = frame.select("policy", "expected", CONTENTS, F.explode("names").alias("of")).select(
        "policy", "expected", CONTENTS, "of.*"
    )
    return [NameCount(*row) for row in _summed(frame, "policy", "name", "expected", "named", "predicted")]
