"""The page on Python says what really happens on Spark."""

import shutil
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from tests.python_page import PAGE, halves, with_outputs

pytestmark = pytest.mark.spark


def test_what_runs_on_spark_prints_what_the_page_says(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    shutil.copytree(PAGE.parents[1] / "policies", tmp_path / "policies")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    without_spark, on_spark = halves(PAGE.read_text(encoding="utf-8"))
    expected = with_outputs(on_spark)
    assert expected.count("```text") >= 4
    if request.config.getoption("--rewrite-golden"):
        PAGE.write_text(without_spark + expected, encoding="utf-8")
    assert halves(PAGE.read_text(encoding="utf-8"))[1] == expected
