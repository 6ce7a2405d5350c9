"""Compact the label tables' files, and delete those that no version needs."""

import contextlib
from collections.abc import Iterator, Sequence

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from safeguard_spark import schema
from safeguard_spark.config.model import RunConfig
from safeguard_spark.schema import Table
from safeguard_spark.spark.tables import Tables

# A run over few rows looks for their ids and work keys among all labels. Both are spread over every row group, so that
# the least and the greatest value of one say nothing; a Bloom filter says what is not in it.
SOUGHT = {schema.LABELS.name: ("content_id", "work_key")}


def optimize_tables(spark: SparkSession, config: RunConfig) -> dict[str, int]:
    """Compact small files. Returns the number of files replaced, by table. Changes no row. Raises TableError.

    The files of `labels` get Bloom filters for what later runs look for.
    """
    tables = Tables.open(spark, config.output)
    return {table.name: _optimize(tables, table) for table in tables.created()}


def vacuum_tables(spark: SparkSession, config: RunConfig) -> None:
    """Delete files that no version within the tables' retention needs. Raises TableError."""
    tables = Tables.open(spark, config.output)
    for table in tables.created():
        spark.sql(f"VACUUM {tables.sql(table)}")


def _optimize(tables: Tables, table: Table) -> int:
    with bloom_filters(tables.spark, SOUGHT.get(table.name, ())):
        row = tables.spark.sql(f"OPTIMIZE {tables.sql(table)}").select(F.col("metrics.numFilesRemoved")).first()
    return int(row[0]) if row else 0


@contextlib.contextmanager
def bloom_filters(spark: SparkSession, columns: Sequence[str]) -> Iterator[None]:
    """Write Parquet files with Bloom filters for these columns within the block.

    Of a size that fits the values, so that a file of few rows is not a megabyte:
    https://github.com/apache/parquet-java/blob/master/parquet-hadoop/README.md
    """
    settings = {f"parquet.bloom.filter.enabled#{column}": "true" for column in columns}
    settings |= {"parquet.bloom.filter.adaptive.enabled": "true"} if columns else {}
    before = {key: spark.conf.get(key, None) for key in settings}
    for key, value in settings.items():
        spark.conf.set(key, value)
    try:
        yield
    finally:
        for key, earlier in before.items():
            if earlier is None:
                spark.conf.unset(key)
            else:
                spark.conf.set(key, earlier)
