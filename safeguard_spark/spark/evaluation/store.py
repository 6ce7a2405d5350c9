"""Store: the rows of `evaluations`, appended and read back."""

import json
from dataclasses import fields

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from safeguard_spark import schema
from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import ConfigError
from safeguard_spark.evaluation.cohort import Cohort, differences
from safeguard_spark.evaluation.measures import Measure, Metric
from safeguard_spark.evaluation.result import Evaluated, Evaluation, SideResult
from safeguard_spark.evaluation.sets import SetManifest
from safeguard_spark.spark.tables import Tables


def append_evaluation(spark: SparkSession, output: str, evaluation: Evaluation) -> None:
    """Append an evaluation to `evaluations`, once. Raises TableError."""
    tables = Tables.open_or_create(spark, output)
    tables.append(schema.EVALUATIONS, evaluation.rows(), evaluation.evaluation_id)


def past_sides(
    spark: SparkSession, config: RunConfig, evaluation_id: str, manifest: SetManifest, cohort: Cohort
) -> list[SideResult]:
    """What an earlier evaluation measured on the same set, to stand in one figure with one of this cohort.

    Raises ConfigError if there is no such evaluation, or its cohort is another one; it says what differs.
    """
    tables = Tables.open_or_create(spark, config.output)  # tables of an earlier release lack `evaluations`
    rows = tables.read(schema.EVALUATIONS).where(F.col("evaluation_id") == evaluation_id)
    rows = rows.where(F.col("golden_set").startswith(f"{manifest.name}@"))
    found = [row.asDict() for row in rows.collect()]
    if not found:
        raise ConfigError(f"--versus {evaluation_id}: no such evaluation of {manifest.ref} is in {tables.output}.")
    if other := differences(cohort, Cohort.model_validate(json.loads(found[0]["cohort"]))):
        raise ConfigError(
            f"Evaluation {evaluation_id} cannot stand in one figure with this one. They differ in {'; '.join(other)}."
        )
    names = [field.name for field in fields(Metric) if field.name not in ("set", "metric")]
    sides = []
    for side in dict.fromkeys(row["side"] for row in found):
        of_side = [row for row in found if row["side"] == side]
        metrics = [
            Metric(set=row["golden_set"], metric=Measure(row["metric"]), **{name: row[name] for name in names})
            for row in of_side
            if ":" not in row["slice"].partition("=")[0]
        ]
        evaluated = {
            row["policy"]: Evaluated(
                f"{row['policy']}@{row['policy_version']}", row["policy_hash"], row["labeler"], row["labeler_hash"],
                row["tokens_per_thousand"], None, row["cost_per_thousand"],
            )
            for row in of_side
            if row["policy_version"]
        }  # fmt: skip
        sides.append(SideResult(f"{side} ({evaluation_id})", tuple(evaluated.values()), tuple(metrics)))
    return sides
