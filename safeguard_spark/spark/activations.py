"""Activations: which version of a policy is active. The newest row of `policy_activations` decides."""

from typing import Any

from pyspark.sql import functions as F

from safeguard_spark import schema
from safeguard_spark.spark.tables import Tables


def newest_activation(tables: Tables, policy: str) -> dict[str, Any] | None:
    """The newest activation of a policy, or None if no version was ever active."""
    rows = tables.read(schema.ACTIVATIONS).where(F.col("policy") == policy)
    row = rows.orderBy(F.desc("activated_at"), F.desc("run_id")).first()
    return None if row is None else row.asDict()
