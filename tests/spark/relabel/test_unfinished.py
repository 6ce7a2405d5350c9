"""A comparison while its plan is not applied to its end."""

from datetime import UTC, datetime, timedelta

import pytest

from safeguard_spark.relabel.budget import Budget
from safeguard_spark.relabel.coverage import Progress
from safeguard_spark.spark.label.job import label_table
from safeguard_spark.spark.relabel.report import compared_json, compared_page
from safeguard_spark.spark.relabel.version_pairs import compare_versions
from tests.spark.lake import Lake
from tests.spark.relabelling import NEW, OLD, applied, configured, planned, posts

pytestmark = [pytest.mark.spark, pytest.mark.slow]


def test_a_comparison_of_the_newest_part_says_so_until_the_plan_is_applied_to_its_end(lake: Lake) -> None:
    ddl = "id STRING, body STRING, made TIMESTAMP"
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    lake.write([(id, body, begin + timedelta(hours=n)) for n, (id, body) in enumerate(posts(200))], ddl)
    label_table(lake.spark, configured(lake), [OLD], show=False)
    made = planned(lake, "all").plan
    applied(lake, made, budget=Budget(calls=40), order="newest")
    found = compare_versions(lake.spark, configured(lake), OLD, NEW)
    compared = found.comparison.compared
    assert found.unfinished == Progress(compared, 200) and compared <= 40
    said = f"only the {compared} of its 200 contents with a label under market@1.1.0 are compared"
    assert said in found.coverage and said in compared_page(found, {})
    assert compared_json(found)["unfinished"] == {"labelled": compared, "planned": 200}

    applied(lake, made)
    found = compare_versions(lake.spark, configured(lake), OLD, NEW)
    assert found.unfinished is None and compared_json(found)["unfinished"] is None
    assert found.comparison.compared == 200 and found.coverage.endswith("covers every content")
