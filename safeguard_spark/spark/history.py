"""History: which labels were current at a moment.

Every label says when it was committed and every activation when it took effect, and neither is ever changed. So what
`labels_current` showed at a moment can be read at any later moment, except for contents that were erased since.
"""

from datetime import UTC, datetime

from pyspark.sql import DataFrame

from safeguard_spark.spark.tables import Tables


def labels_as_of(tables: Tables, moment: datetime) -> DataFrame:
    """What `labels_current` showed at a moment. A time without a zone is UTC."""
    utc = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    literal = f"TIMESTAMP'{utc:%Y-%m-%d %H:%M:%S.%f}+00:00'"
    return tables.spark.sql(tables.labels_as_of(literal))
