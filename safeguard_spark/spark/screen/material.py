"""Material: the contents with a verdict that a screen learns from, is calibrated on and is tested on."""

from typing import NamedTuple

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from safeguard_spark import schema, views
from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import ConfigError, GateError
from safeguard_spark.labelling.content import Content
from safeguard_spark.labelling.rows import LabelSpec
from safeguard_spark.labelling.verdict import Outcome
from safeguard_spark.screen.parts import Part, part
from safeguard_spark.spark.label.executor import READERS
from safeguard_spark.spark.labels import of_collection, of_version
from safeguard_spark.spark.source import STRATUM, Source, distinct_contents
from safeguard_spark.spark.tables import Tables

MAX_STRATA = 100
MAX_CONTENTS = 200_000  # on the driver, with their texts; those with the lowest hashes, which is a random part


class Judged(NamedTuple):
    """Distinct contents, whether each is a violation, and their strata, in one order. Without strata all are None."""

    contents: list[Content]
    violations: list[bool]
    strata: list[str | None]


class Material(NamedTuple):
    """The contents by part, and the version of `labels` that was read."""

    parts: dict[Part, Judged]
    collection: str
    labels_version: int

    @property
    def num_contents(self) -> int:
        """All of them."""
        return sum(len(judged.contents) for judged in self.parts.values())

    @property
    def prevalence(self) -> float:
        """The share of violations."""
        return sum(sum(judged.violations) for judged in self.parts.values()) / self.num_contents


def read_material(config: RunConfig, tables: Tables, spec: LabelSpec, source: Source) -> Material:
    """The contents of a source that the labeler has judged. Raises GateError if there are none.

    What a person must decide (`review`) counts as a violation. Contents that a screen had a hand in are no random part
    of the table, and are left out: those that one cleared, and those of runs with one.
    """
    version, collection = tables.version(schema.LABELS), config.source.collection(source.name)
    labels = of_version(tables.read(schema.LABELS, version), spec.policy, spec.labeler.labeler_hash)
    labels = of_collection(labels, collection)
    screened = labels.where("screen IS NOT NULL")
    judged = (
        labels.where(F.col("outcome").isin(Outcome.labelled.value, Outcome.review.value))
        .where("carried_from IS NULL AND screen IS NULL")
        .join(screened.select("run_id").distinct(), on="run_id", how="left_anti")
        .join(screened.select("content_hash").distinct(), on="content_hash", how="left_anti")
    )
    newest = F.max_by(F.coalesce("violation", F.lit(True)), F.struct(*views.NEWEST)).alias("violation")
    verdicts = judged.groupBy("content_hash").agg(newest)
    texts = distinct_contents(source.frame, "content_hash", source.payload)
    chosen = texts.join(verdicts, on="content_hash", how="inner").orderBy("content_hash").limit(MAX_CONTENTS)
    return Material(_by_part(chosen, source.payload, spec), collection, version)


def _by_part(rows: DataFrame, payload: str, spec: LabelSpec) -> dict[Part, Judged]:
    parts, strata = {name: Judged([], [], []) for name in Part}, set[str | None]()
    for row in rows.toArrow().to_pylist():
        judged = parts[part(row["content_hash"])]
        judged.contents.append(READERS[payload](row[payload]))
        judged.violations.append(row["violation"])
        judged.strata.append(row.get(STRATUM))
        strata.add(row.get(STRATUM))
    if not all(judged.contents for judged in parts.values()):
        raise GateError(
            f"There are too few contents of this source that {spec.labeler.name} has judged under {spec.policy.ref} "
            "without a screen. Label a random part of the table first."
        )
    if len(strata) > MAX_STRATA:
        raise ConfigError(
            f"--strata has {len(strata):,} values, and the risk is divided over those that are screened. Name a column "
            f"with at most {MAX_STRATA}, such as the language."
        )
    return parts


def sizes(parts: dict[Part, Judged]) -> dict[str, tuple[int, int]]:
    """Contents and violations by part."""
    return {name.value: (len(judged.contents), sum(judged.violations)) for name, judged in parts.items()}
