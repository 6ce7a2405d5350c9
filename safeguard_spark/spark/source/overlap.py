"""Overlap: a source, the label tables and staging must be in folders of their own."""

import os
import re
from pathlib import PurePosixPath

from pyspark.sql import SparkSession

from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import SourceError
from safeguard_spark.spark.files import Files
from safeguard_spark.spark.source.contents import Source
from safeguard_spark.spark.source.location import is_path

SAME_STORE = {"s3": "s3a", "s3n": "s3a", "abfss": "abfs", "wasbs": "wasb"}  # other schemes for the same files


def refuse_overlap(spark: SparkSession, config: RunConfig, source: Source) -> None:
    """Raise SourceError if the output or staging folder is in the source's folder, or the source in one of them.

    A VACUUM of a source deletes every file in its folder that is not its own: all labels.
    """
    if source.folder is None:
        return
    content = _real(spark, source.folder)
    for name, folder in (("output", config.output), ("run.staging", config.run.staging)):
        if not folder or (name == "output" and not is_path(folder)):
            continue
        other = _real(spark, folder)
        if _is_inside(other, content):
            raise SourceError(
                f"{name} {folder} is in the source's folder {source.name}: a VACUUM of the source would delete it. "
                "Name a folder elsewhere."
            )
        if _is_inside(content, other):
            raise SourceError(f"The source {source.name} is in the folder of {name} {folder}. Name another folder.")


def _is_inside(inner: str, outer: str) -> bool:
    return PurePosixPath(inner).is_relative_to(PurePosixPath(outer))


def _real(spark: SparkSession, location: str) -> str:
    """A folder as one text, whatever way it was written: with its scheme, links followed on a local disk."""
    plain = Files(spark, location).plain()
    if plain.startswith("/"):
        return os.path.realpath(plain)
    scheme, _, rest = plain.partition("://")
    return f"{SAME_STORE.get(scheme, scheme)}://{re.sub('/+', '/', rest)}"
