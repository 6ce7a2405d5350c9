"""A comparison while its plan is not applied completely."""

from datetime import UTC, datetime, timedelta

import pytest

from safeguard_spark.evaluation.comparison.html import comparison_page
from safeguard_spark.evaluation.comparison.report import report_json
from safeguard_spark.relabel.budget import Budget
from safeguard_spark.relabel.coverage import Progress
from safeguard_spark.spark.label.job import label_table
from safeguard_spark.spark.relabel.version_pairs import compare_versions
from tests.spark.lake import Lake
from tests.spark.relabelling import NEW, OLD, applied, configured, planned, posts

pytestmark = [pytest.mark.spark, pytest.mark.slow]


def test_a_comparison_of_the_newest_part_says_so_until_the_plan_is_applied_completely(lake: Lake) -> None:
    ddl = "id STRING, body STRING, plan TIMESTAMP"
    start = datetime(2026, 1, 1, tzinfo=UTC)
    lake.write([(id, body, start + timedelta(hours=n)) for n, (id, body) in enumerate(posts(200))], ddl)
    label_table(lake.spark, configured(lake), [OLD], show=False)
    plan = planned(lake, "all").plan
    applied(lake, plan, budget=Budget(calls=40), order="newest")
    report = compare_versions(lake.spark, configured(lake), OLD, NEW)
    compared = report.comparison.compared
    assert report.unfinished == Progress(compared, 200) and compared <= 40
    note = f"only the {compared} of its 200 contents with a label under market@1.1.0 are compared"
    assert note in report.coverage and note in comparison_page(report)
    assert report_json(report)["unfinished"] == {"labelled": compared, "planned": 200}

    applied(lake, plan)
    report = compare_versions(lake.spark, configured(lake), OLD, NEW)
    assert report.unfinished is None and report_json(report)["unfinished"] is None
    assert report.comparison.compared == 200 and report.coverage.endswith("covers every content")
