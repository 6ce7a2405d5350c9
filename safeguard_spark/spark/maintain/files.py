"""Compact the label tables' files, and delete those that no version needs."""

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from safeguard_spark.config.model import RunConfig
from safeguard_spark.schema import Table
from safeguard_spark.spark.tables import Tables


def optimize_tables(spark: SparkSession, config: RunConfig) -> dict[str, int]:
    """Compact small files. Returns the number of files replaced, by table. Changes no row. Raises TableError."""
    tables = Tables.open(spark, config.output)
    return {table.name: _optimize(tables, table) for table in tables.created()}


def vacuum_tables(spark: SparkSession, config: RunConfig) -> None:
    """Delete files that no version within the tables' retention needs. Raises TableError."""
    tables = Tables.open(spark, config.output)
    for table in tables.created():
        spark.sql(f"VACUUM {tables.sql(table)}")


def _optimize(tables: Tables, table: Table) -> int:
    row = tables.spark.sql(f"OPTIMIZE {tables.sql(table)}").select(F.col("metrics.numFilesRemoved")).first()
    return int(row[0]) if row else 0
