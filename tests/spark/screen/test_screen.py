"""A screen in a run: trained from labels, it clears what is safe, is audited, and falls when it breaks its promise."""

import pytest
from pyspark.sql import functions as F

from safeguard_spark.errors import ConfigError, EngineError, ExitCode, GateError
from safeguard_spark.labelling.rows import MIN_SECOND_LOOKS
from safeguard_spark.spark.label.dry_run import dry_run
from safeguard_spark.spark.screen.make import plan_screen, train_screen
from safeguard_spark.spark.screens import find_screen, newest_audits
from safeguard_spark.spark.tables import Tables
from tests.build import policy
from tests.faulty_server import FaultyServer
from tests.spark.lake import Lake
from tests.spark.screened import POLICY, posts, trained

pytestmark = pytest.mark.spark


def test_a_screen_spares_calls_and_a_new_kind_of_violation_retires_it(lake: Lake) -> None:
    lake.write(posts(1_200))
    lake.label(POLICY)
    screen = trained(lake)
    lake.write(posts(2_400, start=1_200))
    lake.calls()

    config = lake.config(screen={"id": screen.screen_id, "audit": 50})
    planned = dry_run(lake.spark, config, [POLICY])
    run = lake.label(POLICY, screen={"id": screen.screen_id, "audit": 50})

    assert run.status == "complete" and run.written == run.pending == 1_200
    assert run.spared > 600 and lake.calls() == run.calls == 1_200 - run.spared
    assert (planned.calls, planned.spared, planned.screen_id) == (run.calls, run.spared, screen.screen_id)
    labels = lake.read("labels").where(F.col("run_id") == run.run_id)
    screened = labels.where("outcome = 'screened'").collect()
    assert len(screened) == run.spared == run.outcomes["screened"]
    assert {(row.violation, row.screen, row.labeler_hash, row.screened_for) for row in screened} == {
        (False, screen.screen_id, screen.screen_hash, screen.labeler_hash)
    }
    assert labels.where("screen IS NOT NULL AND outcome = 'labelled'").count() == 50
    assert len(lake.current()) == 2_400

    lake.write(posts(3_600, start=2_400, new_kind=0.2))  # what it has never seen, among goods that it knows as safe
    broken = lake.label(POLICY, screen={"id": screen.screen_id, "audit": 200})

    assert broken.exit_code == ExitCode.partial and "is retired" in str(broken.message)
    tables = Tables(lake.spark, str(lake.tables))
    assert find_screen(tables, screen.screen_id).is_retired
    audits = lake.read("screen_audits").orderBy("audited_at").collect()
    assert [(row.run_id, row.finding) for row in audits][1] == (broken.run_id, "broken")
    assert (
        audits[0].recall_low
        > audits[1].recall_low
        == lake.read("runs").orderBy("ended_at").tail(1)[0].screen_recall_low
    )

    (reported,) = newest_audits(tables, "TIMESTAMP'2000-01-01'", "TIMESTAMP'2100-01-01'")
    assert (reported["finding"], reported["recall_low"]) == ("broken", audits[1].recall_low)

    again = lake.label(POLICY, screen={"id": screen.screen_id})
    assert again.status == "complete" and again.spared == 0
    assert again.pending == run.spared + broken.spared
    assert "is retired and not used" in str(again.message)
    assert {row.outcome for row in lake.current().values()} == {"labelled"}


@pytest.mark.slow
def test_what_a_glance_nearly_cleared_is_judged_again_with_more_effort(lake: Lake) -> None:
    labeler = {"labeler": {"effort": "low", "escalate": 0.1}}
    lake.write(posts(300, share=0.3))
    lake.label(POLICY, **labeler)
    screen = train_screen(lake.spark, lake.config(**labeler), POLICY, 0.8, "glance", critical=False)
    lake.write(posts(600, start=300, share=0.3))
    run = lake.label(POLICY, screen={"id": screen.screen_id, "audit": 10}, **labeler)
    labels = lake.read("labels").where(F.col("run_id") == run.run_id)
    again = labels.where("effort = 'medium'").collect()
    # The script's glance has two scores, so all that it did not clear is as close as can be.
    assert len(again) >= MIN_SECOND_LOOKS and all(row.violation and row.screen is None for row in again)
    assert run.calls == 300 - run.spared + len(again) and run.spared > 150


@pytest.mark.slow
def test_a_glance_whose_engine_is_down_ends_as_the_labelers_does_and_writes_nothing(
    lake: Lake, caplog: pytest.LogCaptureFixture
) -> None:
    lake.write(posts(300, share=0.3))
    lake.label(POLICY)
    screen = train_screen(lake.spark, lake.config(), POLICY, 0.8, "glance", critical=False)
    lake.write(posts(340, start=300))
    down = {"kind": "endpoint", "url": "http://127.0.0.1:9", "model": "scripted", "patience_s": 0.5}
    with pytest.raises(EngineError, match=r"127\.0\.0\.1:9") as caught:
        lake.label(POLICY, engine=down, screen={"id": screen.screen_id})
    assert caught.value.exit_code == ExitCode.engine
    assert f"screen {screen.screen_id} has not scored every content: Engine at" in caplog.text
    assert lake.read("labels").count() == 300 and lake.read("runs").count() == 1
    run = lake.label(POLICY, screen={"id": screen.screen_id, "audit": 5})
    assert run.status == "complete" and run.written == 40 and run.spared > 0
    assert {row.attempt for row in lake.current().values()} == {1}


def test_a_screen_is_refused_for_another_text_and_another_labeler(lake: Lake) -> None:
    lake.write(posts(600, share=0.3))
    lake.label(POLICY)
    with pytest.raises(GateError, match="299 are needed"):
        trained(lake, target=0.99)
    screen = trained(lake)
    changed = policy(text="No replicas. Rifles are fine.", version="1.1.0")
    with pytest.raises(ConfigError, match=r"is for the text of market@1\.0\.0"):
        lake.label(changed, screen={"id": screen.screen_id})
    with pytest.raises(ConfigError, match="stands in for labeler"):
        lake.label(POLICY, screen={"id": screen.screen_id}, labeler={"effort": "high"})
    with pytest.raises(ConfigError, match="There is no screen s0"):
        lake.label(POLICY, screen={"id": "s0"})


@pytest.mark.slow
def test_a_glance_without_log_probabilities_is_an_engine_error_and_not_a_bad_screen(lake: Lake) -> None:
    lake.write(posts(60))
    with FaultyServer() as server:  # answers in full, whatever it is asked for
        engine = {"kind": "endpoint", "url": server.url, "model": "m", "dialect": "harmony"}
        lake.label(POLICY, engine=engine)
        with pytest.raises(EngineError, match=r"gave none of [\d,]+ contents a score"):
            plan_screen(lake.spark, lake.config(engine=engine), POLICY, "glance")
