"""Overlap: a source, the label tables and staging must be in folders of their own."""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import PurePosixPath

from pyspark.sql import SparkSession

from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import SourceError
from safeguard_spark.spark.failures import FAILED
from safeguard_spark.spark.files import Files
from safeguard_spark.spark.source.contents import Source, SourceTable
from safeguard_spark.spark.source.location import is_path, table_sql

SAME_STORE = {"s3": "s3a", "s3n": "s3a", "abfss": "abfs", "wasbs": "wasb"}  # other schemes for the same files


def refuse_overlap(spark: SparkSession, config: RunConfig, source: Source | SourceTable) -> None:
    """Raise SourceError if the output or staging folder is in the source's folder, or the source in one of them.

    A VACUUM of a source deletes every file in its folder that is not its own: all labels.
    """
    if source.folder is None:
        return
    content = _real(spark, source.folder)
    for setting, folder in _written(spark, config):
        other = _real(spark, folder)
        if _is_inside(other, content):
            raise SourceError(
                f"{setting} {folder} is in the source's folder {source.name}: a VACUUM of the source would delete it. "
                "Name a folder elsewhere."
            )
        if _is_inside(content, other):
            raise SourceError(f"The source {source.name} is in the folder of {setting} {folder}. Name another folder.")


def _written(spark: SparkSession, config: RunConfig) -> Iterator[tuple[str, str]]:
    """The folders that a run writes to, each with the name of its setting."""
    output, staging = config.output, config.run.staging
    if staging:
        yield "run.staging", staging
    if output and is_path(output):
        yield "output", output
    elif output and (labels := _labels_folder(spark, table_sql(output))):
        yield f"output {output}:", labels
        if not staging:
            yield f"output {output}:", f"{labels.rpartition('/')[0]}/_staging"


def _labels_folder(spark: SparkSession, schema: str) -> str | None:
    """The folder of the table `labels` of a catalog's schema, also before it is created; None without such a schema."""
    with suppress(*FAILED):
        row = spark.sql(f"DESCRIBE DETAIL {schema}.labels").first()
        return None if row is None else str(row["location"])
    with suppress(*FAILED):
        row = spark.sql(f"DESCRIBE SCHEMA {schema}").where("lower(info_name) = 'location'").first()
        return None if row is None or not row["info_value"] else f"{row['info_value']}/labels"
    return None


def _is_inside(inner: str, outer: str) -> bool:
    return PurePosixPath(inner).is_relative_to(PurePosixPath(outer))


def _real(spark: SparkSession, location: str) -> str:
    """A folder as one text, whatever way it was written: with its scheme, links followed on a local disk."""
    plain = Files(spark, location).local_path()
    if plain.startswith("/"):
        return os.path.realpath(plain)
    scheme, _, rest = plain.partition("://")
    return f"{SAME_STORE.get(scheme, scheme)}://{re.sub('/+', '/', rest)}"
