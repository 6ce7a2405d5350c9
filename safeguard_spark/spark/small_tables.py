"""Small tables: all of their rows at once, read again only after a commit.

A run looks at these tables several times, and a Spark job takes longer than what it reads of them.
"""

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, Row

from safeguard_spark.schema import Table
from safeguard_spark.spark.table_log import newest_commits, newest_point
from safeguard_spark.spark.tables import Tables

CREATED = "CREATE TABLE"  # the operation of a commit without rows


def all_rows(tables: Tables, table: Table) -> list[Row]:
    """The rows of a small table. Raises as `Tables.read` does."""
    point = newest_point(tables.spark, tables.sql(table))  # first: the rows are at least as new
    cached = tables.small_tables.get(table.name)
    if cached is None or cached[0] != point:
        is_new = not point.version and newest_commits(tables.spark, tables.sql(table), 1)[0].operation == CREATED
        tables.small_tables[table.name] = cached = (point, [] if is_new else tables.read(table).collect())
    return list(cached[1])


def read_existing(tables: Tables, table: Table) -> DataFrame | None:
    """A table's rows; None in an output of an earlier release, which has it after the next label run."""
    try:
        return tables.read(table)
    except AnalysisException:
        return None
