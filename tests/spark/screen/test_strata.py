"""A screen with a threshold for each language: in a run, a dry run, a plan, and of what changed alone."""

import pytest
from pyspark.sql import functions as F

from safeguard_spark.errors import GateError, SourceError
from safeguard_spark.relabel.budget import Budget
from safeguard_spark.relabel.scope import parse_scope
from safeguard_spark.spark.label.dry_run import dry_run
from safeguard_spark.spark.relabel.apply import apply_plan, prepare_application
from safeguard_spark.spark.relabel.planner import PlanRequest, plan_relabel
from safeguard_spark.spark.screen.make import calibrate_screen, train_screen
from safeguard_spark.spark.screens import find_screen
from safeguard_spark.spark.tables import Tables
from tests.spark.lake import Lake
from tests.spark.screened import POLICY, TRACKED, posts

pytestmark = [pytest.mark.spark, pytest.mark.slow]
DDL = "id STRING, body STRING, lang STRING"
LANGUAGES = ["EN", "en", "en", "en", "sw", "sw", "fr", None]


def in_languages(rows: list[tuple[str, str]]) -> list[tuple[str, str, str | None]]:
    """Posts in turn in several languages; French has no violations, and some have no language."""
    languages = [(id, body, LANGUAGES[number % 8]) for number, (id, body) in enumerate(rows)]
    return [(id, body.replace("replica", "nice") if lang == "fr" else body, lang) for id, body, lang in languages]


def test_each_language_has_its_threshold_and_others_are_never_cleared(lake: Lake) -> None:
    lake.write(in_languages(posts(800, share=0.3)), DDL)
    lake.spark.sql(f"ALTER TABLE delta.`{lake.posts}` SET TBLPROPERTIES ('delta.enableChangeDataFeed' = 'true')")
    lake.label(POLICY)
    tracked = lake.config(**TRACKED)
    with pytest.raises(SourceError, match="no column language"):
        train_screen(lake.spark, tracked, POLICY, 0.8, critical=False, strata="language")
    with pytest.raises(GateError, match=r"takes 59 violations .* in a stratum, and no length\(body\) % 7 has more"):
        train_screen(lake.spark, tracked, POLICY, 0.95, critical=False, strata="length(body) % 7")

    trained = train_screen(lake.spark, tracked, POLICY, 0.8, critical=False, strata="lower(lang)")
    screen = find_screen(Tables(lake.spark, str(lake.tables)), trained.screen_id)
    assert screen == trained and screen.threshold is None
    assert {one.stratum: one.threshold is None for one in screen.thresholds or ()} == {
        "en": False, "sw": False, "fr": True,
    }  # fmt: skip
    assert calibrate_screen(lake.spark, tracked, POLICY, trained.screen_id, 0.8) == screen

    # Two rows have one text, in two languages: no threshold is the right one.
    lake.write([*in_languages(posts(1_200, start=800)), ("t1", "a nice twin", "en"), ("t2", "a nice twin", "sw")], DDL)
    used = {"screen": {"id": screen.screen_id, "audit": 20}}
    planned = dry_run(lake.spark, lake.config(**used), [POLICY])
    run = lake.label(POLICY, **used)
    assert (planned.calls, planned.spared) == (run.calls, run.spared)
    assert "402 rows are read: the change feed" in str(run.candidates) and run.written == 402
    contents = lake.spark.read.format("delta").load(str(lake.posts)).withColumnRenamed("id", "content_id")
    cleared = lake.read("labels").where("screen IS NOT NULL").join(contents, on="content_id", how="inner")
    by_language = {row["lang"]: row["count"] for row in cleared.groupBy("lang").count().collect()}
    assert set(by_language) == {"EN", "en", "sw"} and min(by_language.values()) > 30
    assert cleared.where("content_id LIKE 't%'").count() == 0

    # The language that counts is that of the row as it is now.
    lake.write([("u1", "a nice lamp, one", "en"), ("u2", "a nice lamp, two", None)], DDL)
    lake.spark.sql(f"UPDATE delta.`{lake.posts}` SET lang = if(id = 'u1', 'fr', 'en') WHERE id LIKE 'u%'")
    edited = lake.label(POLICY, screen={"id": screen.screen_id, "audit": 1})
    assert "the change feed" in str(edited.candidates)
    screened = lake.read("labels").where("content_id LIKE 'u%' AND screen IS NOT NULL")
    assert [row.content_id for row in screened.collect()] == ["u2"]

    # A plan spares as many calls as its application.
    lake.write(in_languages(posts(1_400, start=1_200)), DDL)
    request = PlanRequest(None, POLICY, parse_scope("where id >= 'p001200'"))
    plan = plan_relabel(lake.spark, lake.config(**used), request).plan
    application = prepare_application(lake.spark, lake.config(**used), plan, POLICY)
    applied = apply_plan(lake.spark, lake.config(**used), application, Budget(), show=False).result
    assert applied.calls == plan.calls == 200 - applied.spared < 150
    assert lake.read("labels").where(F.col("run_id") == applied.run_id).count() == 200
