"""What people are asked to judge is drawn from the labels and the source: at random, or because it may be wrong."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

import safeguard_spark as sg
from safeguard_spark.cli.app import run_command
from safeguard_spark.errors import ConfigError, TableError
from safeguard_spark.review.draws import Draw, DrawRequest, FindingQueue
from safeguard_spark.schema import REVIEW_ITEMS
from safeguard_spark.spark.review.draw import draw_items
from safeguard_spark.spark.review.report import review_report
from tests.build import policy
from tests.spark.lake import Lake
from tests.spark.relabelling import applied, planned
from tests.unit.review.world import World
from tests.versions import NEW, OLD

pytestmark = pytest.mark.spark

HOSTILE = 'a replica \u202e"quoted"\u0000 \\ <b>'


@pytest.fixture
def labelled(lake: Lake) -> Lake:
    words = ["a replica", "zzgarbage", "zzrefuse", *["a table"] * 7]
    lake.write([(f"p{n:03d}", f"{words[n % 10]} {n}") for n in range(300)])
    lake.write([("hostile", HOSTILE), ("null", None)])
    lake.label()
    return lake


def draw(lake: Lake, ref: str = "market", config: Any = None, dry_run: bool = False, **request: Any) -> Draw:
    return draw_items(lake.spark, config or lake.config(), ref, DrawRequest(**request), dry_run=dry_run)


def items(lake: Lake) -> list[dict[str, Any]]:
    return World(lake.folder, lake.tables).rows(REVIEW_ITEMS)


def test_an_estimating_sample_has_its_probabilities_its_contents_and_is_drawn_once(labelled: Lake) -> None:
    planned = draw(labelled, size=100, dry_run=True)
    assert planned.items["estimate"] and planned.added == 0 and not items(labelled)
    drawn = draw(labelled, size=100)
    rows = items(labelled)
    assert drawn.contents == {"flagged": 31, "unflagged": 271} and drawn.lost == 0
    assert len(rows) == drawn.added == drawn.items["estimate"] == planned.items["estimate"] and 70 < len(rows) < 130
    source = {row.id: row.body for row in labelled.spark.read.format("delta").load(str(labelled.posts)).collect()}
    labels = labelled.current()
    for row in rows:
        label = labels[row["content_id"]]
        assert row["purpose"] == "estimate" and row["sample_id"] == drawn.sample_id
        assert json.loads(row["content"]) == {"text": source[row["content_id"]]}
        assert row["stratum"] == ("flagged" if label.violation else "unflagged")
        size, probability = (31, 25 / 31) if label.violation else (271, 75 / 271)
        assert (row["stratum_size"], row["inclusion_probability"]) == (size, pytest.approx(probability))
        assert (row["work_key"], row["outcome"], row["rule_ids"]) == (label.work_key, label.outcome, label.rule_ids)
        assert json.loads(row["draw"])["strata"] == {"flagged": 31, "unflagged": 271}
    assert {row["stratum"] for row in rows} == {"flagged", "unflagged"}
    again = draw(labelled, size=100)
    assert (again.sample_id, again.added, again.items) == (drawn.sample_id, 0, drawn.items)
    # Maintenance makes new versions of the tables, with the same rows.
    for table in (labelled.posts, labelled.tables / "labels"):
        labelled.spark.sql(f"ALTER TABLE delta.`{table}` SET TBLPROPERTIES ('note' = 'x')")
        labelled.spark.sql(f"OPTIMIZE delta.`{table}`")
    again = draw(labelled, size=100)
    assert (again.sample_id, again.added) == (drawn.sample_id, 0)
    other = draw(labelled, size=100, seed=1)
    assert other.sample_id != drawn.sample_id and other.added == other.items["estimate"]
    ids = [row["item_id"] for row in items(labelled)]
    assert len(set(ids)) == len(ids) == drawn.added + other.added


@pytest.mark.slow
def test_queues_look_for_errors_and_never_have_a_probability(labelled: Lake) -> None:
    appealed_at = datetime(2026, 3, 1, tzinfo=UTC)
    appeals = [("a1", "p000"), ("a2", "p010"), ("a3", "gone"), ("a4", "p000")]
    frame = labelled.spark.createDataFrame(
        [(id, content, "market", appealed_at, f"reason of {id}") for id, content in appeals]
        + [("b1", "p020", "other", appealed_at, "")],
        "appeal_id STRING, content_id STRING, policy STRING, appealed_at TIMESTAMP, reason STRING",
    )
    location = str(labelled.folder / "appeals")
    frame.write.format("delta").save(location)
    queues = (FindingQueue.appeal, FindingQueue.unreadable, FindingQueue.low_confidence)
    drawn = draw(labelled, size=40, queues=queues, queue_size=15, appeals=location)
    rows = items(labelled)
    assert drawn.items["appeal"] == 3 and drawn.lost_appeals == 1
    assert 0 < drawn.items["unreadable"] <= 15 and drawn.items["low_confidence"] == 0
    found = [row for row in rows if row["purpose"] != "estimate"]
    assert all(row["inclusion_probability"] is row["stratum"] is row["stratum_size"] is None for row in found)
    appealed = {row["appeal_id"]: row for row in found if row["purpose"] == "appeal"}
    assert set(appealed) == {"a1", "a2", "a4"}
    assert appealed["a1"]["appeal_reason"] == "reason of a1" and appealed["a1"]["appealed_at"] == appealed_at
    sampled = {row["content_id"] for row in rows if row["purpose"] == "estimate"}
    assert not sampled & {row["content_id"] for row in found if row["purpose"] == "unreadable"}
    # A new appeal is added; what other draws have is not drawn into a queue again.
    frame.limit(1).selectExpr(
        "'a5' AS appeal_id", "'p030' AS content_id", "policy", "appealed_at", "reason"
    ).write.format("delta").mode("append").save(location)
    assert draw(labelled, size=40, queues=queues, queue_size=15, appeals=location).added == 1
    more = draw(labelled, queues=(FindingQueue.unreadable,), queue_size=100, seed=7)
    unreadable = [row["content_id"] for row in items(labelled) if row["purpose"] == "unreadable"]
    assert len(unreadable) == len(set(unreadable)) and more.added == len(unreadable) - drawn.items["unreadable"]


@pytest.mark.slow
def test_appeals_are_found_however_their_policy_is_written_and_what_is_left_out_is_counted(labelled: Lake) -> None:
    rows = [
        ("a1", "p000", "market@1.0.0", "2026-03-01T12:00:00+02:00"),
        ("a2", "p010", "  market\t", "2026-03-01T10:00:00Z"),
        ("a3", "p020", "market@0.9.0", "last Tuesday"),
        ("a4", "p030", "market @ 1.0.0", None),
        ("a4", "p030", "market", None),  # the same appeal, exported twice
        ("a5", "p040", "market", "2026-03-01"),
        ("a5", "p050", "market", "2026-03-01"),
        ("a6", "absent", "market", "2026-03-01"),
        ("a7", None, "market", "2026-03-01"),
        *((f"b{n}", "p060", name, None) for n, name in enumerate(["Market", "markets", "", "@1.0.0", None])),
    ]
    location = str(labelled.folder / "appeals.parquet")
    ddl = "appeal_id STRING, content_id STRING, policy STRING, appealed_at STRING"
    frame = labelled.spark.createDataFrame(rows, ddl).selectExpr("*", "'' AS reason")
    frame.write.parquet(location)
    queues = (FindingQueue.appeal,)
    drawn = draw(labelled, queues=queues, appeals=location)
    appealed = {row["appeal_id"]: row for row in items(labelled)}
    assert sorted(appealed) == ["a1", "a2", "a3", "a4", "a5"] and appealed["a5"]["content_id"] == "p040"
    assert appealed["a1"]["appealed_at"] == appealed["a2"]["appealed_at"] == datetime(2026, 3, 1, 10, tzinfo=UTC)
    counts = drawn.lost_appeals, drawn.unknown_policy_appeals, drawn.repeated_appeals, drawn.undated_appeals
    assert counts == (2, 5, 1, 2)
    for sentence in (
        "2 appeals are left out: the content is not in the source, or has no label.",
        "5 appeals are left out: the policy is none that was ever active here. Write its name, with or without a "
        "version: market or market@1.0.0.",
        "1 appeal is left out: another one has the same appeal_id.",
        "2 appeals have no time that can be read, so the hours to a decision count from this draw.",
    ):
        assert sentence in drawn.text
    # The same appeal against a label of another policy, which has an item of its own.
    labelled.label(policy("weapons", version="1.0.0"))
    other = labelled.spark.createDataFrame([("a1", "p000", "weapons", None)], ddl).selectExpr("*", "'' AS reason")
    other.write.mode("append").parquet(location)
    assert draw(labelled, "weapons", queues=queues, appeals=location).added == 1
    again = draw(labelled, queues=queues, appeals=location)
    assert (again.added, again.unknown_policy_appeals) == (0, 5)


@pytest.mark.slow
def test_what_a_new_version_catches_and_where_versions_disagree_is_drawn(lake: Lake) -> None:
    lake.write([(f"p{n:02d}", f"{['a table', 'a rifle', 'a pill'][n % 3]} {n}") for n in range(30)])
    old = lake.config(source={"name": "posts"})
    lake.label(OLD, source={"name": "posts"})  # knows no pills
    plan = planned(lake, "all").plan
    applied(lake, plan)  # a script that does
    caught = draw(lake, config=old, queues=(FindingQueue.newly_caught,), plan_id=plan.plan_id)
    rows = items(lake)
    assert caught.items == {"newly_caught": 10} and {row["policy_version"] for row in rows} == {NEW.version}
    assert all(row["violation"] and "a pill" in row["content"] for row in rows)
    differing = draw(lake, config=old, queues=(FindingQueue.disagreement,))
    assert differing.items == {"disagreement": 10}
    assert all("a pill" in row["content"] for row in items(lake))


@pytest.mark.slow
def test_conversations_and_contents_that_cannot_be_read_are_items_too(lake: Lake) -> None:
    rows = [("t1", [("user", "hello"), ("bot", "a replica")]), ("t2", [("user", None)]), ("t3", None)]
    lake.write(rows, "id STRING, turns ARRAY<STRUCT<role STRING, text STRING>>")
    columns = {"source": {"text_column": None, "conversation_column": "turns"}}
    lake.label(**columns)
    draw(lake, config=lake.config(**columns), size=3)
    contents = {row["content_id"]: json.loads(row["content"]) for row in items(lake)}
    assert contents["t1"] == {"turns": [["user", "hello"], ["bot", "a replica"]]}
    assert contents["t2"] == {"turns": [["user", None]]} and contents["t3"] == {"text": None}


@pytest.mark.slow
def test_labels_whose_content_has_changed_or_gone_are_left_out_and_counted(labelled: Lake) -> None:
    posts = str(labelled.posts)
    labelled.spark.sql(f"DELETE FROM delta.`{posts}` WHERE id = 'p000'")
    labelled.spark.sql(f"UPDATE delta.`{posts}` SET body = 'edited' WHERE id = 'p001'")
    drawn = draw(labelled, size=10_000)
    assert drawn.lost == 2 and drawn.items["estimate"] == 300


@pytest.mark.slow
def test_contents_of_a_golden_set_are_hidden_once_and_enter_no_rate(labelled: Lake) -> None:
    """Of 30 contents five are violations and five have no answer; two in three have been labelled in an evaluation."""
    rows = [
        {"body": f"{'a replica' if n < 5 else 'a lamp'} of the set, {n}", "rule": "M1" if n < 5 else None}
        | ({} if n >= 25 else {"answer": int(n < 5)})
        for n in range(30)
    ]
    known = labelled.golden_set(rows)
    config = labelled.config(policies=str(labelled.folder / "policies"))
    sg.evaluate(config, policy(), sets=known, spark=labelled.spark, progress=False)
    labelled.spark.sql(f"DELETE FROM delta.`{labelled.tables}/labels` WHERE collection = 'known' AND content_id > '20'")
    before = draw(labelled, config=config, size=100)
    drawn = draw(labelled, config=config, calibration=known, queue_size=8)
    assert drawn.items == {"calibration": 8} and drawn.added == 8 and drawn.lost == 0
    assert "Calibration items, which have a known answer and never enter a rate: 8." in drawn.text
    hidden = [row for row in items(labelled) if row["purpose"] == "calibration"]
    assert [row["known_violation"] for row in hidden].count(True) == 4
    for row in hidden:
        source = rows[int(row["content_id"]) - 1]
        assert json.loads(row["content"]) == {"text": source["body"]} and row["collection"] == "known"
        assert row["known_rule_ids"] == ([source["rule"]] if source["rule"] else None)
        assert row["stratum"] is row["inclusion_probability"] is None
        has_label = row["content_id"] <= "20"
        assert (row["outcome"], row["violation"]) == (
            ("labelled", source["rule"] == "M1") if has_label else (None,) * 2
        )
    assert draw(labelled, config=config, calibration=known, queue_size=8).added == 0
    both = draw(labelled, config=config, size=50, calibration=known, queue_size=100, dry_run=True)
    # One violation is left; the others are hidden already.
    assert both.items["calibration"] == 25 - 8 and both.items["estimate"] and both.added == 0
    more = draw(labelled, config=config, size=50, calibration=known, queue_size=100)
    assert more.items == both.items
    ids = [row["content_id"] for row in items(labelled) if row["purpose"] == "calibration"]
    assert len(ids) == len(set(ids)) == 25
    # The same sample as before there were calibration items.
    assert draw(labelled, config=config, size=100).sample_id == before.sample_id
    with pytest.raises(ConfigError, match="There is no set nothing"):
        draw(labelled, config=config, calibration="nothing")
    shown = review_report(labelled.spark, config)
    assert {one.about for one in shown.indicators if one.name == "review_items"} == {"queue estimate"}


def test_what_cannot_be_drawn_is_said(labelled: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="No sample of 302 contents"):
        draw(labelled, half_width=0.003)
    with pytest.raises(TableError, match="No version of nothing is active"):
        draw(labelled, "nothing", size=5)
    (labelled.folder / "conf.yaml").write_text("engine: {kind: scripted}\n")
    command = ["review", "sample", "--config", str(labelled.folder / "conf.yaml"), "--output", str(labelled.tables),
               "--source", str(labelled.posts), "--text-column", "body", "--policy", "market"]  # fmt: skip
    for wrong, words in (
        (["--queue", "unredable"], "there is no such queue"), (["--queue", "appeal"], "need each other"),
        (["--plan", "p1"], "need each other"), (["--size", "9", "--half-width", "0.1"], "either --half-width"),
        (["--size", "9", "--scope", "touched"], "write all, since 2026-05-01 or where"),
    ):  # fmt: skip
        assert run_command([*command, *wrong]) == 2 and words in capsys.readouterr().err
    assert run_command([*command, "--size", "9", "--queue", "low-confidence", "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out.splitlines()[-1])["contents"] == {"flagged": 31, "unflagged": 271}
    assert "Estimating sample s" in printed.err and "replica" not in printed.err
