"""A run that another release left staged: refused as a whole, and how to go on works."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from safeguard_spark.errors import TableError
from safeguard_spark.labelling.rows import LabelSpec
from tests.build import policy, posts
from tests.spark.lake import Lake

pytestmark = pytest.mark.spark

RUN = "20260101T000000-0badcafe"


def stage_without_format(lake: Lake) -> Path:
    """A dead driver's complete chunk, as the release before staged files had a format left it."""
    folder = lake.tables / "_staging" / RUN
    for part in ("0/pending/bucket=0", "0/results/0"):
        (folder / part).mkdir(parents=True)
    spec = LabelSpec.of(lake.config(), policy())
    source = {"name": "posts", "version": 0}
    driver = {"machine": "gone", "pid": 1, "born": "1"}
    manifest = {
        "driver": driver, "started_at": "2026-01-01T00:00:00+00:00", "source": source,
        "policies": [{"ref": spec.policy.ref, "hash": spec.policy.policy_hash}],
        "labelers": [spec.labeler.labeler_hash], "config_hash": "0", "config": "{}", "labels_version_in": 0,
        "plan_id": None,
    }  # fmt: skip
    plan = {
        "policy": spec.policy.model_dump(mode="json"), "labeler": spec.labeler.model_dump(mode="json"),
        "planned_on": 0, "counts": [1, 1, 1], "chunks": {"0": 1}, "has_reused": False,
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "0/plan.json").write_text(json.dumps(plan))
    pending = {
        "content_id": ["p0"], "content_hash": ["c"], "work_key": ["w"], "attempt": pa.array([1], pa.int32()),
        "is_first": [True], "text": ["a table 0"],
    }  # fmt: skip
    pq.write_table(pa.table(pending), folder / "0/pending/bucket=0/part.parquet")
    result = {
        "work_key": ["w"], "outcome": ["labelled"], "violation": [False], "asked": [True], "fatal": [False],
        "engines": [["e"]], "lost": [None],
    }  # fmt: skip
    pq.write_table(pa.table(result), folder / "0/results/0/part.parquet")
    (folder / "0/results/0/_SUCCESS").touch()
    return folder


def test_a_run_that_another_release_staged_is_refused_and_not_half_read(lake: Lake) -> None:
    lake.write(posts(5))
    lake.create()
    folder = stage_without_format(lake)
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    with pytest.raises(TableError, match=rf"Another release staged run {RUN} \(format none") as caught:
        lake.label()
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)
    assert {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()} == before
    assert (lake.read("labels").count(), lake.read("runs").count(), lake.calls()) == (0, 0, 0)
    # What the sentence says: without the folder its contents are labelled again.
    shutil.rmtree(folder)
    assert lake.label().written == 5
