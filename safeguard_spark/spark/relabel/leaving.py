"""Leaving: the contents that `labels_current` no longer shows once another version is active, in every collection."""

from typing import Any, NamedTuple

from pyspark.sql import Column, Row
from pyspark.sql import functions as F

from safeguard_spark import schema
from safeguard_spark.labelling.rows import LabelSpec
from safeguard_spark.labelling.verdict import Outcome
from safeguard_spark.spark.activations import active_labeler
from safeguard_spark.spark.labels import CONTENT, golden_collections, stands_for
from safeguard_spark.spark.tables import Tables

NAMED = 5  # collections in a message: there may be thousands


class Covered(NamedTuple):
    """How many contents a version should cover, and of how many of them it has a label that could be read."""

    covered: int = 0
    total: int = 0

    @property
    def share(self) -> float | None:
        """None without contents."""
        return self.covered / self.total if self.total else None

    def plus(self, other: "Covered") -> "Covered":
        """Both together."""
        return Covered(self.covered + other.covered, self.total + other.total)


class Leaving(NamedTuple):
    """The contents with a label under the active version and none under the promoted one.

    `largest` has the collections with most of them. `elsewhere` is what the promoted version covers of all collections
    but the configured source's. `active` and `promoted` name both sides, by labeler where they are one version.
    """

    active: str = ""
    promoted: str = ""
    contents: int = 0
    largest: tuple[tuple[str, int], ...] = ()
    elsewhere: Covered = Covered()

    @property
    def sentence(self) -> str:
        """What readers of `labels_current` lose, by collection, and what keeps it; empty if nothing leaves."""
        if not self.contents:
            return ""
        counts = [f"{count:,} of {collection}" for collection, count in self.largest]
        if rest := self.contents - sum(count for _, count in self.largest):
            counts.append(f"{rest:,} of other collections")
        return (
            f"Contents that leave labels_current, because they have a label under {self.active} and none under "
            f"{self.promoted}: {', '.join(counts)}. To keep them there, label their sources under {self.promoted} with "
            "the same configuration. Those whose rows are gone can only leave: erase them, or use --force."
        )

    def to_json(self) -> dict[str, Any]:
        """As `relabel promote --json` prints it."""
        return {"contents": self.contents, "largest": dict(self.largest)}


def contents_that_leave(tables: Tables, spec: LabelSpec, current: Row | None, collection: str | None) -> Leaving:
    """Compare what an activation shows with what `spec` has labels of, in one pass over `labels`.

    `collection` is the configured source's. The collections of golden sets, which evaluations label, are left out.
    """
    if current is None:
        return Leaving()
    by_active = _is_by(str(current["policy_version"]), str(current["policy_hash"]), current["labeler_hash"])
    by_new = _is_by(spec.policy.version, spec.policy.policy_hash, spec.labeler.labeler_hash)
    sets = golden_collections(tables.read(schema.EVALUATIONS), collection)
    labels = tables.read(schema.LABELS).where((F.col("policy") == spec.policy.name) & F.col("salt").isNull())
    contents = (
        labels.join(sets, on="collection", how="left_anti")
        .groupBy(*CONTENT)
        .agg(
            F.bool_or(by_active).alias("shown"),
            F.bool_or(by_new).alias("stays"),
            F.bool_or(by_new & is_readable()).alias("covered"),
        )
        .where("shown")
    )
    is_elsewhere = ~F.col("collection").eqNullSafe(F.lit(collection))
    rows = (
        contents.groupBy("collection")
        .agg(
            F.count_if(~F.col("stays")).alias("leaving"),
            F.count_if("covered").alias("covered"),
            F.count("*").alias("n"),
        )
        .withColumns({name: F.when(is_elsewhere, F.col(name)).otherwise(0) for name in ("covered", "n")})
        .rollup("collection")
        .agg(
            F.grouping("collection").alias("is_total"),
            *(F.sum(name).alias(name) for name in ("leaving", "covered", "n")),
        )
        .orderBy(F.desc("is_total"), F.desc("leaving"), "collection")
        .limit(1 + NAMED)
        .collect()
    )
    if not rows:
        return Leaving()
    total, *largest = rows
    named = tuple((str(row["collection"]), int(row["leaving"])) for row in largest if row["leaving"])
    active, promoted = str(current["policy_version"]), spec.policy.version
    if active == promoted:
        active, promoted = f"{active} by {active_labeler(current)}", f"{promoted} by {spec.labeler.ref}"
    return Leaving(active, promoted, int(total["leaving"]), named, Covered(int(total["covered"]), int(total["n"])))


def is_readable() -> Column:
    """Whether a label says how the model judged: a failed call and an answer that could not be read cover nothing."""
    uncovered = (Outcome.engine_failed, Outcome.unparseable, Outcome.truncated, Outcome.refused)
    return ~F.col("outcome").isin([outcome.value for outcome in uncovered])


def _is_by(version: str, policy_hash: str, labeler_hash: str | None) -> Column:
    """Whether a label is of this text under this version, by this labeler, or by any for None."""
    of_text = (F.col("policy_version") == version) & (F.col("policy_hash") == policy_hash)
    return of_text if labeler_hash is None else of_text & (stands_for() == labeler_hash)
