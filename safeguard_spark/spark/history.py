"""History: which labels were current at a moment, and which version of a policy was active.

Every label says when it was committed and every activation when it took effect, and neither is ever changed. So what
`labels_current` showed at a moment can be read at any later moment, except for contents that were erased since.
"""

from datetime import UTC, datetime
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from safeguard_spark import schema
from safeguard_spark.spark.tables import Tables


def labels_as_of(tables: Tables, moment: datetime) -> DataFrame:
    """What `labels_current` showed at a moment. A time without a zone is UTC."""
    utc = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    literal = f"TIMESTAMP'{utc:%Y-%m-%d %H:%M:%S.%f}+00:00'"
    return tables.spark.sql(tables.labels_as_of(literal))


def labels_of_content_as_of(tables: Tables, content_id: str, moment: datetime) -> list[dict[str, Any]]:
    """The labels of an id at a moment, one per collection and policy, with the hash of the policy text active then."""
    labels = labels_as_of(tables, moment).where(F.col("content_id") == content_id)
    rows = labels.orderBy("collection", "policy").collect()
    return [row.asDict(recursive=True) for row in rows]


def activation_history(tables: Tables, policy: str) -> list[dict[str, Any]]:
    """Every activation of a policy, oldest first: the version, when it became active, until when, and why."""
    rows = tables.read(schema.ACTIVATIONS).where(F.col("policy") == policy).orderBy("activated_at", "run_id").collect()
    activations = [row.asDict() for row in rows]
    ends = [activation["activated_at"] for activation in activations[1:]]
    return [{**activation, "until": end} for activation, end in zip(activations, [*ends, None], strict=True)]
