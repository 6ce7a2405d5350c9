"""Which labels count for a version: for its coverage, its agreement with people, its noise, and an older plan."""

import json
from typing import Any

import pytest
from deltalake import DeltaTable

from safeguard_spark import schema
from safeguard_spark.errors import GateError, SourceError, TableError
from safeguard_spark.labelling.labeler import Labeler
from safeguard_spark.policy.document import Policy
from safeguard_spark.relabel.plan import plan_text
from safeguard_spark.spark.label.job import label_table
from safeguard_spark.spark.maintain.erase import erase_contents
from safeguard_spark.spark.relabel.human_decisions import human_agreement
from safeguard_spark.spark.relabel.promote import Promotion, promote_version
from safeguard_spark.spark.relabel.version_pairs import label_again
from safeguard_spark.spark.tables import Tables
from tests.build import policy
from tests.spark.lake import Lake
from tests.spark.relabelling import NEW, OLD, TEXT, configured, planned, posts, prepared
from tests.spark.test_labels import label

pytestmark = pytest.mark.spark


def label_under(lake: Lake, version: Any, **sections: Any) -> None:
    lake.create()
    label_table(lake.spark, configured(lake, **sections), [version], show=False)


@pytest.mark.slow
def test_a_content_for_which_every_call_failed_is_not_covered(lake: Lake) -> None:
    lake.write(posts(8))
    label_under(lake, OLD)
    label_under(lake, NEW, args={"misbehave": {"a ": "fail"}})
    with pytest.raises(TableError, match=r"Nothing is labelled under market@1\.1\.0"):
        promote_version(lake.spark, configured(lake), NEW)
    other = policy(version="1.2.0", text="No chairs.")
    label_under(lake, other, args={"misbehave": {"lamp": "fail", "book": "fail"}})
    gate = {"gate": {"cases": False, "min_coverage": 0.9}}
    with pytest.raises(GateError, match=r"coverage of the table: 0\.75, at least 0\.9"):
        promote_version(lake.spark, configured(lake, relabel=gate), other)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["garbage", "refuse"])
def test_answers_that_could_not_be_read_meet_no_gate(lake: Lake, kind: str) -> None:
    lake.write(posts(8))
    label_under(lake, OLD)
    # Unreadable on half of the contents, with people's decisions on safe contents among them.
    label_under(lake, NEW, args={"misbehave": dict.fromkeys(["chair", "lamp", "book", "coat"], kind)})
    decisions = [("p0001", True), ("p0004", False), ("p0005", False), ("p0006", False)]
    location = str(lake.folder / "decisions")
    lake.spark.createDataFrame(decisions, "id STRING, violation BOOLEAN").write.parquet(location)
    gate = {"cases": False, "min_coverage": 0.6, "min_gold_precision": 0.5}
    with pytest.raises(GateError, match=r"coverage of the table: 0\.5, .* gold precision: 0\.01274.*0\.25 observed"):
        promote_version(lake.spark, configured(lake, relabel={"gate": gate, "gold": {"location": location}}), NEW)


@pytest.mark.slow
def test_people_are_compared_with_the_label_that_readers_see(lake: Lake) -> None:
    tables = Tables.open_or_create(lake.spark, str(lake.tables))
    # Of two labels of one instant and attempt the later run counts, whichever was appended first.
    rows = [
        label(f"c{n}", OLD, run_id=run, violation=(run == "r2") == (n < 4), work_key=run, source="posts")
        for n in range(8)
        for run in (("r1", "r2") if n % 2 else ("r2", "r1"))
    ]
    tables.append(schema.LABELS, rows, "rows")
    decisions = [(f"c{n}", n < 4) for n in range(8)]
    location = str(lake.folder / "decisions")
    lake.spark.createDataFrame(decisions, "id STRING, violation BOOLEAN").write.parquet(location)
    config = configured(lake, relabel={"gold": {"location": location}})
    agreement = human_agreement(lake.spark, config, tables, OLD, "l")
    assert agreement is not None and agreement.precision is not None and agreement.recall is not None
    assert (agreement.contents, agreement.precision.value, agreement.recall.value) == (8, 1.0, 1.0)
    # Decisions that name their collection count for it, whatever the source.
    both = [(id, decided, name) for id, decided in decisions[:5] for name in ("comments", "posts")]
    location = str(lake.folder / "of_collections")
    lake.spark.createDataFrame(both, "id STRING, violation BOOLEAN, collection STRING").write.parquet(location)
    elsewhere = configured(lake, relabel={"gold": {"location": location}}, source={"name": "comments"})
    agreement = human_agreement(lake.spark, elsewhere, tables, OLD, "l")
    assert agreement is not None and agreement.contents == 5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("decisions", "kind", "sentence"),
    [
        ([("p1", "remove"), ("p2", "keep"), ("p3", None)], "STRING", r"2 decisions in .*column=\"violation = 'VALUE'"),
        ([("p1", True), ("p2", True), ("p1", False), ("p2", True)], "BOOLEAN", r"1 contents in .* decisions that dif"),
        ([("p1", [True])], "ARRAY<BOOLEAN>", r"violation_column violation of .* is array<boolean>, not true or false"),
    ],
)  # fmt: skip
def test_decisions_that_cannot_be_read_as_one_per_content_are_refused(
    lake: Lake, decisions: list[tuple[str, object]], kind: str, sentence: str
) -> None:
    lake.create()
    location = str(lake.folder / "decisions")
    lake.spark.createDataFrame(decisions, f"id STRING, violation {kind}").write.parquet(location)
    tables = Tables.open(lake.spark, str(lake.tables))
    with pytest.raises(SourceError, match=sentence):
        human_agreement(lake.spark, configured(lake, relabel={"gold": {"location": location}}), tables, OLD, "l")
    if kind == "STRING":
        gold = {"location": location, "violation_column": "violation = 'remove'"}
        assert human_agreement(lake.spark, configured(lake, relabel={"gold": gold}), tables, OLD, "l") is None


def test_what_people_decided_stops_a_promotion_or_is_stored_with_it(lake: Lake) -> None:
    lake.write(posts(8))
    label_under(lake, OLD)
    label_under(lake, NEW)
    # Of the three contents that break a rule under NEW two do for people as well, and one more does for them only.
    decisions = [("p0001", True), ("p0002", True), ("p0003", False), ("p0005", True), ("p0006", None), ("new", True)]
    location = str(lake.folder / "decisions")
    lake.spark.createDataFrame(decisions, "id STRING, violation BOOLEAN").write.parquet(location)

    def promoted(precision: float, **gold: str) -> Promotion:
        gate = {"cases": False, "min_coverage": None, "min_gold_precision": precision, "min_gold_recall": 0.1}
        return promote_version(
            lake.spark, configured(lake, relabel={"gate": gate, "gold": {"location": location, **gold}}), NEW
        )

    with pytest.raises(
        GateError,
        match=r"gold precision: 0\.1354, at least 0\.9 .*\(0\.6667 observed; cannot be shown: 3 flagged contents, 46",
    ):
        promoted(0.9)
    with pytest.raises(SourceError, match=r"no column verdict in .* id, violation\."):
        promoted(0.1, violation_column="verdict")
    assert {row.policy_version for row in lake.current().values()} == {"1.0.0"}
    assert promoted(0.1).changed and {row.policy_version for row in lake.current().values()} == {"1.1.0"}
    stored = lake.read("policy_activations").where("policy_version = '1.1.0'").collect()[0]
    lines = {line["name"]: (line["asked"], round(line["value"], 4), line["met"]) for line in json.loads(stored["gate"])}
    assert lines == {"gold precision": (0.1, 0.1354, True), "gold recall": (0.1, 0.1354, True)}


@pytest.mark.slow
def test_decisions_that_name_a_changed_rule_are_listed_and_not_counted_until_they_are_made_again(lake: Lake) -> None:
    lake.write(posts(8))
    label_under(lake, OLD)
    label_under(lake, NEW)
    for version, weapons in (("1.0.0", "no rifles."), ("1.1.0", "no rifles, unless they are toys.")):
        folder = lake.folder / "policies" / "market" / version
        folder.mkdir(parents=True)
        (folder / "policy.md").write_text(TEXT.format(version=version, weapons=weapons), encoding="utf-8")
    # p0002 is a rifle: people decided by M2, which 1.1.0 changes.
    old = [("p0001", True, "M1", "1.0.0"), ("p0002", True, "M2", "1.0.0"), ("p0004", False, None, "1.0.0")]
    columns, ddl = (
        {"rules_column": "rule", "version_column": "version"},
        "id STRING, violation BOOLEAN, rule STRING, version STRING",
    )

    def settings(rows: list[tuple[str, bool, str | None, str]]) -> dict[str, Any]:
        location = str(lake.folder / f"decisions{len(rows)}")
        lake.spark.createDataFrame(rows, ddl).write.parquet(location)
        return {"policies": str(lake.folder / "policies"), "relabel": {"gold": {"location": location, **columns}}}

    tables = Tables.open(lake.spark, str(lake.tables))
    before = settings(old)
    report = planned(lake, "touched", **before)
    assert report.decide_again == (1, ("p0002",)) and "decided again: 1 (p0002)" in plan_text(report)

    def contents(version: Policy, sections: dict[str, Any]) -> int:
        config = configured(lake, **sections)
        hash = Labeler.of(config, version).labeler_hash
        agreement = human_agreement(lake.spark, config, tables, version, hash)
        assert agreement is not None
        return agreement.contents

    assert (contents(OLD, before), contents(NEW, before)) == (3, 2)
    # What is no version's number was decided before all that are.
    unversioned = settings([*old, ("p0002", True, "M2", "spring"), ("p0006", False, None, "2026-05-03")])
    assert planned(lake, "touched", **unversioned).decide_again == (1, ("p0002",))
    after = settings([*old, ("p0002", True, "M2", "1.1.0")])
    assert planned(lake, "touched", **after).decide_again == (0, ()) and contents(NEW, after) == 3


@pytest.mark.slow
def test_decisions_on_other_contents_do_not_meet_a_gate(lake: Lake) -> None:
    lake.write(posts(8))
    label_under(lake, OLD)
    label_under(lake, NEW)
    location = str(lake.folder / "decisions")
    lake.spark.createDataFrame([("other", True)], "id STRING, violation BOOLEAN").write.parquet(location)
    gate = {"cases": False, "min_coverage": None, "min_gold_precision": 0.0}
    with pytest.raises(GateError, match=r"gold precision: at least 0 is required and nothing could be measured"):
        promote_version(lake.spark, configured(lake, relabel={"gate": gate, "gold": {"location": location}}), NEW)


@pytest.mark.slow
def test_noise_is_measured_on_the_contents_of_that_policy_only(lake: Lake) -> None:
    twin = policy("shop")  # the same text under another name
    lake.write(posts(6))
    label_under(lake, policy("market"))
    lake.write([(f"q{n}", f"a chair {n}") for n in range(9)])
    label_under(lake, twin)
    assert label_again(lake.spark, configured(lake), policy("market"), 1.0, show=False).rows == 6


@pytest.mark.slow
def test_a_plan_selects_the_same_contents_after_later_labels_and_an_erasure_with_vacuum(lake: Lake) -> None:
    lake.write(posts(24))
    label_under(lake, OLD)
    plan = planned(lake, "touched").plan
    assert plan.rows == 3
    # The source is edited and labelled again: by today's labels another content would be affected.
    edited = [(id, {"p0002": "a lamp", "p0007": "a rifle"}.get(id, body)) for id, body in posts(24)]
    lake.write(edited, mode="overwrite")
    label_under(lake, OLD)
    erase_contents(lake.spark, configured(lake), ["p0010"], vacuum=True)
    selected = prepared(lake, plan)
    assert {row.content_id for row in selected.source.frame.collect()} == {"p0002", "p0018"}
    # The planned version of the source is there, so the change is counted.
    assert selected.source_change is not None and selected.source_change.edited == 1


@pytest.mark.slow
def test_a_plan_whose_versions_are_gone_from_the_logs_is_refused_or_says_so(lake: Lake) -> None:
    lake.write(posts(8))
    label_under(lake, OLD)
    plan = planned(lake, "all").plan
    touched = planned(lake, "touched").plan
    lake.write([("new", "a lamp")])
    label_under(lake, OLD)
    forget_log(lake, "posts", 0)
    change = prepared(lake, plan).source_change
    assert change is not None and change.added is None
    assert "the scope had 8 contents, now 9." in str(change)
    forget_log(lake, "tables/labels", touched.labels_version)
    with pytest.raises(TableError, match=r"no longer says which labels .* Plan again\."):
        prepared(lake, touched)


def forget_log(lake: Lake, table: str, version: int) -> None:
    """Do as Delta does once a log is older than its retention: a checkpoint, and no files up to a version."""
    folder = lake.folder / table
    DeltaTable(str(folder)).create_checkpoint()
    for number in range(version + 1):
        for file in (folder / "_delta_log").glob(f"*{number:020}.*"):
            file.unlink()
    lake.spark._jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()
