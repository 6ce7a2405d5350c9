"""The page on Python says what really happens on Spark."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from tests.pages import DOCS, PYTHON, python_page

pytestmark = [pytest.mark.spark, pytest.mark.slow]


def test_what_runs_on_spark_prints_what_the_page_says(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, golden: Any
) -> None:
    shutil.copytree(DOCS.parent / "policies", tmp_path / "policies")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    golden(PYTHON, python_page(on_spark=True))
