"""One local Spark session with Delta for the whole tier; a fresh lake for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from safeguard_spark import config
from safeguard_spark.spark.session import session
from tests.spark.lake import Lake


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """A real session as the job makes it."""
    warehouse = tmp_path_factory.mktemp("warehouse")
    settings = {
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.warehouse.dir": str(warehouse),
        "spark.databricks.delta.snapshotPartitions": "1",
    }
    made = session(config.build({"engine": {"kind": "scripted"}, "spark": {"master": "local[2]", "conf": settings}}))
    yield made
    made.stop()


@pytest.fixture
def lake(spark: SparkSession, tmp_path: Path) -> Lake:
    """An empty place for a content table and label tables."""
    return Lake(spark, tmp_path)
