"""The rows of one policy version, the newest of each content, and which version is active."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from safeguard_spark import schema
from safeguard_spark.labelling.labeler import LabelerRef
from safeguard_spark.labelling.rows import LabelSpec
from safeguard_spark.spark import tables as tables_module
from safeguard_spark.spark.activations import activate, activate_if_first, active, is_active, was_active
from safeguard_spark.spark.label.dry_run import dry_run
from safeguard_spark.spark.labels import newest_per_content, of_version
from safeguard_spark.spark.tables import Tables
from tests.build import SkewedClock, policy, posts
from tests.spark.lake import Lake

pytestmark = pytest.mark.spark

OLD, CHANGED, OTHER = policy(), policy(text="No replicas."), policy("other")
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def label(content_id: str = "a", version: Any = OLD, **values: Any) -> dict[str, Any]:
    """A row of `labels`."""
    row = dict.fromkeys(schema.LABELS.names) | {
        "content_id": content_id, "content_hash": "c", "policy": version.name, "policy_version": version.version,
        "policy_hash": version.policy_hash, "labeler_hash": "l",
        "outcome": "labelled", "violation": False, "rule_ids": [], "attempt": 1,
        "run_id": "r", "chunk": 0, "work_key": "w", "labelled_at": NOON,
    }  # fmt: skip
    return row | values


def test_the_newest_label_of_each_content_is_the_one_that_labels_current_shows(lake: Lake) -> None:
    tables = Tables.open_or_create(lake.spark, str(lake.tables))
    choose = random.Random(7).choice
    rows = [
        label(
            choose("abcd"),
            choose([OLD, CHANGED, OTHER]),
            labelled_at=NOON + timedelta(seconds=choose([0, 1])),
            attempt=choose([1, 2]),
            run_id=choose(["r1", "r2"]),
            chunk=choose([0, 1]),
            salt=choose([None, None, "noise"]),
            work_key=f"w{number}",
        )
        for number in range(120)
    ]
    tables.append(schema.LABELS, rows, "rows")
    activate(tables, OLD, LabelerRef("m", "l"), "r", "first labelled")
    newest = newest_per_content(of_version(tables.read(schema.LABELS), OLD), "work_key").collect()
    assert {(row.content_id, row.work_key) for row in newest} == {
        (id, row.work_key) for id, row in lake.current().items()
    }
    assert len(newest) == 4
    salted = of_version(tables.read(schema.LABELS), OLD, salt="noise").collect()
    assert {(row.policy, row.policy_hash, row.salt) for row in salted} == {("market", OLD.policy_hash, "noise")}


def test_only_a_promotion_activates_another_version_and_a_clock_that_jumps_back_does_not_matter(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables, newer = Tables.open_or_create(lake.spark, str(lake.tables)), policy(version="1.1.0", text="No rifles.")
    old_spec, new_spec = (LabelSpec.of(lake.config(), version) for version in (OLD, newer))
    assert active(tables, "market") is None
    activate_if_first(tables, old_spec, "r1")
    activate_if_first(tables, new_spec, "r2")
    activate_if_first(tables, old_spec, "r3")
    assert is_active(active(tables, "market"), old_spec) and not was_active(tables, new_spec)
    monkeypatch.setattr(tables_module, "datetime", SkewedClock)
    SkewedClock.by = timedelta(days=-365)
    activate(tables, newer, new_spec.labeler.ref, "r4", "promoted", forced=False, gate="[]")
    assert is_active(active(tables, "market"), new_spec) and was_active(tables, old_spec)
    draft = policy(version="1.1.0", text="No rifles, please.")
    other_labeler = lake.config(labeler={"effort": "high"})
    activate_if_first(tables, LabelSpec.of(other_labeler, draft), "r5")  # a test with another labeler changes nothing
    activate_if_first(tables, LabelSpec.of(lake.config(), draft, salt="noise"), "r6")
    activate_if_first(tables, LabelSpec.of(lake.config(), draft), "r7")  # a draft's own text
    reasons = [row.reason for row in tables.read(schema.ACTIVATIONS).orderBy("activated_at").collect()]
    assert reasons == ["first labelled", "promoted", "text changed under the same version"]


@pytest.mark.slow
def test_a_run_under_a_version_that_is_not_active_says_that_no_reader_sees_its_labels(lake: Lake) -> None:
    lake.write([("a", "a table")])
    newer = policy(version="1.1.0", text="No rifles.")
    assert dry_run(lake.spark, lake.config(), [newer]).message is None  # the first version ever labelled becomes active
    assert lake.label(OLD).message is None
    planned = dry_run(lake.spark, lake.config(), [OLD, newer, OTHER])
    done = lake.label(newer)
    assert planned.message == done.message and dry_run(lake.spark, lake.config(), [OLD]).message is None
    assert done.exit_code == 0 and "market@1.1.0 is not active, 1.0.0 is" in str(done.message)
    assert "safeguard relabel promote market@1.1.0" in str(done.message)
    assert {row.policy_version for row in lake.current().values()} == {"1.0.0"}


def test_the_chunks_of_a_run_are_numbered_from_0_over_all_its_policies(lake: Lake) -> None:
    lake.write(posts(60))
    run_id = lake.label(OLD, OTHER, run={"chunk_rows": 20}).run_id
    chunks = lake.read("labels").where(f"run_id = '{run_id}'").select("policy", "chunk").distinct().collect()
    numbers = {name: {row.chunk for row in chunks if row.policy == name} for name in ("market", "other")}
    assert numbers["market"] | numbers["other"] == set(range(len(chunks)))
    assert max(numbers["market"]) < min(numbers["other"])
