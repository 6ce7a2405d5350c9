"""History: what was believed at a moment, and under which version of a policy.

Every label says when it was committed and every activation when it began to rule; neither is ever changed. So what
`labels_current` showed at a moment can be asked for at any later one, less what was erased since.
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
    return tables.spark.sql(schema.labels_as_of(tables.sql(schema.LABELS), tables.sql(schema.ACTIVATIONS), literal))


def believed(tables: Tables, content_id: str, moment: datetime) -> list[dict[str, Any]]:
    """What was said of a content at a moment, one entry per policy: the label, and the hash of the text that ruled."""
    rows = labels_as_of(tables, moment).where(F.col("content_id") == content_id).orderBy("policy").collect()
    return [row.asDict(recursive=True) for row in rows]


def rulings(tables: Tables, policy: str) -> list[dict[str, Any]]:
    """Every version of a policy that ruled, oldest first: from when, until when, why."""
    rows = tables.read(schema.ACTIVATIONS).where(F.col("policy") == policy).orderBy("activated_at", "run_id").collect()
    found = [row.asDict() for row in rows]
    ends = [row["activated_at"] for row in found[1:]]
    return [{**row, "until": end} for row, end in zip(found, [*ends, None], strict=True)]
