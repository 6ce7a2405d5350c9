"""Parquet: files with columns of types that Spark does not infer, as pandas and DuckDB write them."""

import json
from typing import Any

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, DataFrameReader, SparkSession
from pyspark.sql import types as T

from safeguard_spark.errors import SourceError

NANOS = "spark.sql.legacy.parquet.nanosAsLong"
NO_TYPE = ("PARQUET_TYPE_ILLEGAL", "PARQUET_TYPE_NOT_SUPPORTED", "PARQUET_TYPE_NOT_RECOGNIZED")


def read_parquet(spark: SparkSession, reader: DataFrameReader, path: str) -> DataFrame:
    """Read Parquet files. A column of a type that Spark does not infer is read as follows, or left out.

    Times in nanoseconds, which pandas writes, are whole numbers, and UUIDs, which DuckDB writes, are 16 bytes.
    """
    try:
        return reader.load(path)
    except AnalysisException as error:
        if error.getCondition() == "COLUMN_ALREADY_EXISTS":
            raise SourceError(
                f"Source {path} has columns whose names differ only in case. Add --set "
                "spark.conf.spark.sql.caseSensitive=true."
            ) from error
        if error.getCondition() not in NO_TYPE:
            raise
    spark.conf.set(NANOS, "true")  # not reset: the frame is read later
    return reader.schema(_schema(spark, reader, path)).load(path)


def _schema(spark: SparkSession, reader: DataFrameReader, path: str) -> T.StructType:
    """The columns of the first file, without those that Spark cannot read at all."""
    java: Any = spark._jvm
    converter = java.org.apache.spark.sql.execution.datasources.parquet.ParquetToSparkSchemaConverter(
        spark._jsparkSession.sessionState().conf()
    )
    fields = []
    for column in footer_columns(spark, _first_file(reader, path)):
        single = java.org.apache.parquet.schema.MessageType("row", java.java.util.Collections.singletonList(column))
        try:
            fields += T.StructType.fromJson(json.loads(converter.convert(single).json())).fields
        except AnalysisException:
            if column.isPrimitive() and "(UUID)" in str(column):
                fields.append(T.StructField(column.getName(), T.BinaryType()))
    return T.StructType(fields)


def footer_columns(spark: SparkSession, file: str) -> list[Any]:
    """The columns in the footer of a Parquet file, as the JVM's Parquet types."""
    java: Any = spark._jvm
    conf = spark._jsparkSession.sessionState().newHadoopConf()
    # Spark writes the names of files as URIs, in which a space is %20.
    path = (
        java.org.apache.hadoop.fs.Path(java.java.net.URI(file))
        if ":/" in file
        else java.org.apache.hadoop.fs.Path(file)
    )
    opened = java.org.apache.parquet.hadoop.ParquetFileReader.open(
        java.org.apache.parquet.hadoop.util.HadoopInputFile.fromPath(path, conf)
    )
    try:
        return list(opened.getFileMetaData().getSchema().getFields())
    finally:
        opened.close()


def _first_file(reader: DataFrameReader, path: str) -> str:
    """A file of the table: Spark lists them as it reads them, and this process gets the name of one."""
    return str(reader.schema("first BINARY").load(path)._jdf.inputFiles()[0])
