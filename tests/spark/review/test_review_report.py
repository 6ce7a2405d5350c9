"""From a draw to a report: the same in Spark and DuckDB, then or now, and an erasure reaches all of it."""

import csv
import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import safeguard_spark as sg
from safeguard_spark.analyst_views import DUCKDB, analyst_views
from safeguard_spark.cli.app import run_command
from safeguard_spark.config.load import build_config
from safeguard_spark.report.indicators import Indicator, Known, Period, Report
from safeguard_spark.review.draws import DrawRequest, FindingQueue
from safeguard_spark.review.export import Target, export_decisions
from safeguard_spark.review.journal import append_new
from safeguard_spark.review.queue import Answer
from safeguard_spark.spark.maintain.erase import erase_contents
from safeguard_spark.spark.reader import LabelTables
from safeguard_spark.spark.review.draw import draw_items
from safeguard_spark.spark.review.report import period_report, review_report
from safeguard_spark.spark.tables import Tables
from tests.build import policy
from tests.spark.lake import Lake
from tests.unit.review.world import World

pytestmark = pytest.mark.spark

TODAY = datetime.now(UTC).date()
SECRET = "p001"


@pytest.fixture
def reviewed(lake: Lake) -> Lake:
    """200 posts, half of the flagged ones toys (safe, say people), two missed violations; a sample of all, decided."""
    words = {0: "a toy replica", 5: "a replica", 3: "zzgarbage"}
    bodies = {n: f"{words.get(n % 10, 'a table')}, number {n}" for n in range(200)}
    bodies |= {1: "a hidden gun, canary of Oslo", 11: "a hidden gun"}
    lake.spark.conf.set("spark.sql.parquet.compression.codec", "none")
    lake.write([(f"p{n:03d}", body) for n, body in bodies.items()])
    config = lake.config()
    lake.label()
    Tables.open_or_create(lake.spark, str(lake.tables))
    draw_items(lake.spark, config, "market", DrawRequest(size=10_000))
    draw_items(lake.spark, config, "market", DrawRequest(queues=(FindingQueue.unreadable,), queue_size=5, seed=1))
    lake.spark.conf.unset("spark.sql.parquet.compression.codec")
    world = World(lake.folder, lake.tables)
    world.clock.now = datetime.now(UTC).timestamp()
    with world.serving() as desk:
        ada = desk.person()
        ada.get("/queue/market")
        for _ in range(200):
            is_violation = "gun" in ada.content or ada.content.startswith("a replica")
            ada.decide("violation" if is_violation else "safe", reason=f"reason of {ada.content[-4:]}")
            ada.next()
    return lake


def of(report: Report, name: str, about: str = "", collection: str | None = None) -> Indicator:
    ones = (one for one in report.indicators if collection in (None, one.collection))
    (one,) = (one for one in ones if (one.name, one.about) == (name, about))
    return one


def plain(rows: Any) -> list[Any]:
    """Rows as values that two programs share: sorted, times and fractions rounded."""

    def value(cell: Any) -> Any:
        if isinstance(cell, datetime):
            return cell.astimezone(UTC).isoformat()
        if isinstance(cell, float):
            return None if math.isnan(cell) else round(cell, 9)
        return list(cell) if isinstance(cell, list | tuple) else cell

    return sorted((tuple(map(value, row)) for row in rows), key=str)


def test_a_report_is_right_and_the_views_are_the_same_in_spark_and_duckdb(
    reviewed: Lake, capsys: pytest.CaptureFixture[str]
) -> None:
    report = period_report(reviewed.spark, reviewed.config(), Period(TODAY - timedelta(days=1), TODAY))
    # 40 are flagged, 20 of them toys; of the 160 others two are violations: the sample has all of them.
    # 20 answers cannot be read: they are in no share of what the labels say.
    assert of(report, "violation_rate_model").value == of(report, "model_flagged_share").value == 40 / 180
    for name, value in (
        ("violation_rate", 22 / 200),
        ("precision", 20 / 40),
        ("recall", 20 / 22),
        ("accuracy", 158 / 180),
    ):
        one = of(report, name)
        assert one.value == pytest.approx(value) and one.n and one.low is not None and one.high is not None
        assert one.low < one.value < one.high and "Clopper-Pearson" in one.method
    assert of(report, "error_rate").value == pytest.approx(22 / 180)
    assert of(report, "overturned_share", "rule M1").value == 20 / 40
    assert of(report, "overturned_share", "not flagged").value == pytest.approx(2 / 140)
    assert of(report, "review_items", "queue estimate").value == 200
    assert of(report, "labels_not_judged").value == 20 and of(report, "cost_calls").value
    assert [(row.policy_version, row.start, row.end) for row in report.active] == [("1.0.0", TODAY, TODAY)]
    LabelTables.open(reviewed.spark, str(reviewed.tables)).create_views()
    tables = ("labels", "labels_current", "runs", "policy_activations", "review_items", "decisions")
    names = analyst_views(dict.fromkeys(tables, ""), DUCKDB)
    with reviewed.duckdb() as connection:
        for name in names:
            frame = reviewed.spark.sql(f"SELECT * FROM {name}")
            cursor = connection.execute(f"SELECT * FROM {name}")
            assert [column[0] for column in cursor.description] == frame.columns, name
            rows = cursor.fetchall()
            assert plain(map(tuple, frame.collect())) == plain(rows) and rows, name

    folder = reviewed.folder
    (folder / "conf.yaml").write_text("engine: {kind: scripted}\n")
    shared = ["--config", str(folder / "conf.yaml"), "--output", str(reviewed.tables)]
    period = ["--from", str(TODAY - timedelta(days=1)), "--to", str(TODAY)]
    files = ["--html", str(folder / "r.html"), "--csv", str(folder / "r.csv")]
    assert run_command(["report", *shared, *period, *files]) == 0
    assert "11.00% (" in capsys.readouterr().out
    page = (folder / "r.html").read_text()
    assert "<svg" in page and "violation rate" in page and "table, number" not in page and "p0" not in page
    rows = list(csv.DictReader((folder / "r.csv").read_text().splitlines()))
    (rate,) = (row for row in rows if row["indicator"] == "violation_rate")
    assert (rate["value"], rate["unit"], rate["policy"], rate["n"]) == ("0.11", "share", "market", "200")
    assert run_command(["review", "report", *shared, "--json"]) == 0
    indicators = json.loads(capsys.readouterr().out.splitlines()[-1])["indicators"]
    assert [one["value"] for one in indicators if one["name"] == "recall"] == [pytest.approx(20 / 22)]
    assert run_command(["report", *shared, "--from", str(TODAY), "--to", "2026-02-30"]) == 2
    for command in (["review", "report"], ["report", *period]):
        assert run_command([*command, *shared, "--policy", "markets"]) == 2
        assert "has no labels and no items of it. Did you mean market?" in capsys.readouterr().err


@pytest.mark.slow
def test_golden_sets_are_left_out_and_named(lake: Lake) -> None:
    lake.write([(f"p{n}", f"{'a table' if n % 4 else 'a replica'} {n}") for n in range(40)])
    lake.label(source={"name": "posts"})
    # All of the set are violations, and of another rule; its day is that of the posts.
    known = lake.golden_set([{"body": f"a rifle {n}", "answer": 1, "rule": "M2"} for n in range(30)])
    config = lake.config(source={"name": "posts"})
    sg.evaluate(config, policy(), sets=known, spark=lake.spark, progress=False)
    assert {row["collection"] for row in lake.current().values()} == {"posts", "known"}
    period = Period(TODAY - timedelta(days=1), TODAY)
    report = period_report(lake.spark, config, period)
    assert (of(report, "labels_contents").value, of(report, "labels_flagged").value) == (40, 10)
    assert of(report, "model_flagged_share").value == 0.25
    assert {one.about for one in report.indicators if one.name == "labels_flagged"} == {"", "rule M1"}
    assert {row["collection"] for row in report.days} == {"posts"} and report.golden_sets == {"known": 30}
    assert of(period_report(lake.spark, config, replace(period, known=Known.then)), "labels_contents").value == 40
    assert of(report, "cost_calls").value == 70
    # A source that the set has its name from is the platform's.
    named = lake.config(source={"name": "known"})
    assert of(period_report(lake.spark, named, period), "labels_contents", collection="known").value == 30


@pytest.mark.slow
def test_as_it_stood_then_is_not_as_known_now(lake: Lake) -> None:
    lake.write([(f"p{n:02d}", "a replica" if n % 2 else "a table") for n in range(80)])
    lake.label()
    draw_items(lake.spark, lake.config(), "market", DrawRequest(size=1_000))
    world = World(lake.folder, lake.tables)
    yesterday, today = (TODAY - timedelta(days=days) for days in (1, 0))
    items = lake.read("review_items").select("item_id", "drawn_at")
    # As if it all had happened yesterday, but for half of the decisions.
    for table, column in (
        ("review_items", "drawn_at"),
        ("labels", "labelled_at"),
        ("policy_activations", "activated_at"),
    ):
        lake.spark.sql(f"UPDATE delta.`{lake.tables / table}` SET {column} = {column} - INTERVAL 1 DAY")
    assert items.count() == 80
    with world.console() as console:
        for number, day in enumerate((yesterday, today)):
            world.clock.now = datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() + 3600
            for _ in range(40):
                taken = console.queue.take("ada", "market")
                assert taken is not None
                item = console.items.find(taken.item_id)
                answer = Answer(f"{number}{taken.item_id}", "safe" if number else "violation")
                console.queue.decide("ada", taken, answer, item.template)
        append_new(console.journal, console.tables)
    config = lake.config()
    then = period_report(lake.spark, config, Period(yesterday, yesterday, Known.then))
    now = period_report(lake.spark, config, Period(yesterday, yesterday, Known.now))
    assert (of(then, "sample_decided").value, of(now, "sample_decided").value) == (40, 80)
    assert of(now, "violation_rate").value == pytest.approx(0.5, abs=0.2)
    later = period_report(lake.spark, config, Period(today, today))
    assert of(later, "violation_rate").value is None and "no estimating sample" in of(later, "violation_rate").note


@pytest.mark.slow
def test_an_erasure_reaches_items_decisions_journal_and_exports_to_the_last_byte(reviewed: Lake) -> None:
    world = World(reviewed.folder, reviewed.tables)
    config = build_config(world.config() | {"source": {"location": str(reviewed.posts), "text_column": "body"}})
    for target in Target:
        export_decisions(config, target)
    appealed = {"purpose": "appeal", "content_id": SECRET, "appeal_id": "a1", "appealed_at": datetime.now(UTC),
                "collection": f"file:{reviewed.posts}", "appeal_reason": "canary of Oslo"}  # fmt: skip
    world.draw("a hidden gun, canary of Oslo", **appealed)
    with world.serving() as desk:
        ada = desk.person()
        ada.get("/queue/market")
        ada.decide("violation", reason="canary of Oslo")
    export_decisions(config, Target.appeals)
    row: Any = reviewed.read("labels").where(f"content_id = '{SECRET}'").first()
    item: Any = reviewed.read("review_items").where(f"content_id = '{SECRET}' AND purpose = 'estimate'").first()
    secrets = ("canary of Oslo", "reason of Oslo", SECRET, row.content_hash, row.work_key, item.item_id)
    places = ("review_items", "decisions", "gold", "_review/exports", "_review/journal.db")
    for place in places:
        assert any(with_bytes(reviewed.tables / place, secret) for secret in secrets), place
    erased = erase_contents(reviewed.spark, config, [SECRET], vacuum=True)
    assert erased.rows["review_items"] == 2 and erased.rows["decisions"] >= 2 and erased.rows["gold"] == 1
    assert erased.exports == 2 and not erased.console
    for secret in secrets:
        assert with_bytes(reviewed.tables, secret) == [], secret
    assert reviewed.read("review_items").count() == 199 and reviewed.read("decisions").count() >= 199
    report = review_report(reviewed.spark, config)
    assert of(report, "sample_items").value == 199 and of(report, "violation_rate").value is not None


def with_bytes(place: Path, text: str) -> list[str]:
    """The files of a folder, or the file, whose bytes contain a text."""
    files = [place] if place.is_file() else [file for file in place.rglob("*") if file.is_file()]
    return [str(file) for file in files if text.encode() in file.read_bytes()]
