"""Missing columns: Parquet files that lack a column which others have. Spark would read null, and record `empty`."""

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from safeguard_spark.errors import SourceError
from safeguard_spark.spark.source.columns import find_column
from safeguard_spark.spark.source.parquet import footer_columns

MAX_FILES = 100  # with null contents, of which the columns are looked at


def refuse_files_without(spark: SparkSession, column: str, nulls: DataFrame, source: str) -> None:
    """Raise SourceError if a Parquet file of a source lacks a column. `nulls` are the rows in which it is null.

    Parquet's statistics answer that for files without nulls, so little is read.
    """
    if find_column(nulls, column) is None:  # an expression
        return
    files = nulls.select(F.input_file_name().alias("file")).distinct().limit(MAX_FILES).collect()
    lacking = sorted(
        row["file"] for row in files
        if column.lower() not in {field.getName().lower() for field in footer_columns(spark, row["file"])}
    )  # fmt: skip
    if lacking:
        more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        raise SourceError(
            f"File {lacking[0]}{more} of {source} has no column {column}, though others have it. Write the file again "
            "with that column, or move it away."
        )
