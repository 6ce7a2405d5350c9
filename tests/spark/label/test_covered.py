"""Covered versions: a run that finds nothing new reads nothing, and every change makes the next run look again."""

from typing import Any

import pytest

from safeguard_spark.errors import SourceError
from safeguard_spark.result import RunResult, Status
from safeguard_spark.spark.label.candidates import find_candidates
from safeguard_spark.spark.label.dry_run import dry_run
from safeguard_spark.spark.label.job import label_table
from safeguard_spark.spark.label.run import Selection, specs_of
from safeguard_spark.spark.maintain.erase import erase_contents
from safeguard_spark.spark.maintain.files import optimize_tables
from safeguard_spark.spark.source import find_source
from safeguard_spark.spark.tables import Tables
from tests.build import policy, posts
from tests.spark.lake import Lake

pytestmark = pytest.mark.spark

UNCHANGED = "Nothing changed since"
COLUMNS = "id STRING, body STRING, lang STRING"
FEED = "TBLPROPERTIES (delta.enableChangeDataFeed = true)"


def is_unchanged(result: RunResult) -> bool:
    assert result.status is Status.complete
    return result.candidates.startswith(UNCHANGED)


def test_an_unchanged_source_is_not_read_and_what_the_run_says_is_kept(lake: Lake) -> None:
    lake.write(posts(30, "a table, number {n}"))
    first = lake.label()
    assert (first.rows, first.candidates) == (30, "")
    files = [file for file in lake.posts.rglob("*.parquet") if "_delta_log" not in file.parts]
    for file in files:  # reading a row fails now
        file.rename(file.with_suffix(".away"))
    jobs: Any = lake.spark.sparkContext._jsc.sc().statusStore()
    num_jobs = jobs.jobsList(None).size()
    try:
        again = lake.label()
        assert jobs.jobsList(None).size() == num_jobs
        planned = dry_run(lake.spark, lake.config(), [policy()])
    finally:
        for file in files:
            file.with_suffix(".away").rename(file)
    assert again.candidates == planned.candidates == f"{UNCHANGED} version 0 of the source."
    assert (again.rows, again.pending, again.calls, again.written) == (30, 0, 0, 0)
    assert (planned.rows, planned.pending, planned.calls) == (30, 0, 0)
    assert (again.run_id, lake.read("runs").count()) == (first.run_id, 1)
    full = label_table(lake.spark, lake.config(), [policy()], show=False, selection=Selection(full=True))
    assert full.candidates == "All rows are read: --full."
    optimize_tables(lake.spark, lake.config())
    assert is_unchanged(lake.label())  # compacted labels are the same labels
    (covered,) = (lake.tables / "_covered").iterdir()
    covered.write_text(covered.read_text().replace('"full_at":"20', '"full_at":"19'))
    assert "(run.full_every)" in dry_run(lake.spark, lake.config(), [policy()]).candidates


def test_new_rows_are_found_by_the_files_that_came_and_an_id_that_is_there_already_is_refused(lake: Lake) -> None:
    lake.write(posts(40, "a table, number {n}"))
    lake.label()
    lake.calls()
    lake.write([("new", "a rifle, new"), ("repost", "a table, number 7")])
    planned = dry_run(lake.spark, lake.config(), [policy()])
    assert planned.candidates == "2 rows are read: files that were added since version 0 of the source."
    assert (planned.rows, planned.pending, planned.calls) == (42, 2, 1)
    result = lake.label()
    assert (result.rows, result.written, lake.calls()) == (42, 2, 1)
    lake.spark.sql(f"UPDATE delta.`{lake.posts}` SET body = 'a lamp, edited' WHERE id = 'p3'")
    assert lake.label().written == 1
    lake.write([("p9", "a rifle, under an id that has another content")])
    with pytest.raises(SourceError, match=r"Number of ids with several contents .*: 1"):
        lake.label()


@pytest.mark.slow
def test_a_change_feed_shows_exactly_what_came_and_what_is_gone(lake: Lake) -> None:
    lake.spark.sql(f"CREATE TABLE delta.`{lake.posts}` (id STRING, body STRING) USING delta {FEED}")
    lake.write(posts(40, "a table, number {n}"))
    lake.label()
    lake.calls()
    for statement in (
        "INSERT INTO {} VALUES ('new', 'a rifle, new'), ('gone', 'a lamp that goes')",
        "UPDATE {} SET body = 'a lamp, edited' WHERE id IN ('p1', 'p2')",
        "UPDATE {} SET body = 'a table, number 2' WHERE id = 'p2'",  # as before
        "DELETE FROM {} WHERE id IN ('gone', 'p5')",
    ):
        lake.spark.sql(statement.format(f"delta.`{lake.posts}`"))
    result = lake.label()
    assert result.candidates == "10 rows are read: the change feed since version 1 of the source."
    assert (result.rows, result.written, lake.calls()) == (40, 2, 2)
    lake.spark.sql(f"UPDATE delta.`{lake.posts}` SET body = body WHERE id = 'p9'")  # in the feed, and still there
    lake.spark.sql(f"INSERT INTO delta.`{lake.posts}` VALUES ('p9', 'a rifle, under an id that has another content')")
    with pytest.raises(SourceError, match=r"Number of ids with several contents .*: 1"):
        lake.label()


def test_of_parquet_files_those_that_came_or_changed_are_read(lake: Lake) -> None:
    rows = [(f"p{n}", f"a table, number {n}", n % 2) for n in range(20)]
    frame = lake.spark.createDataFrame(rows, "id STRING, body STRING, day INT")
    frame.coalesce(1).write.partitionBy("day").parquet(str(lake.posts))
    assert lake.label().candidates == ""
    assert is_unchanged(lake.label())
    new = lake.spark.createDataFrame([("new", "a rifle, new", 1), ("p7", "a table, number 7", 7)], frame.schema)
    new.coalesce(1).write.mode("append").partitionBy("day").parquet(str(lake.posts))
    lake.calls()
    result = lake.label()
    assert result.candidates.startswith("2 rows are read: files that were added since the files of the source were")
    assert (result.rows, result.written, lake.calls()) == (22, 1, 1)
    next(lake.posts.glob("day=0/*.parquet")).unlink()
    (edited,) = lake.posts.glob("day=7/*.parquet")
    replaced = lake.spark.createDataFrame([("p7", "a replica in place of it")], "id STRING, body STRING")
    replaced.coalesce(1).write.parquet(str(lake.folder / "edited"))
    next((lake.folder / "edited").glob("*.parquet")).rename(edited)
    edited.with_name(f".{edited.name}.crc").unlink()
    with pytest.raises(SourceError, match=r"Number of ids with several contents .*: 1"):
        lake.label()  # p7 is in day=1 as well
    edited.unlink()
    assert (lake.label().rows, lake.label().candidates.startswith(UNCHANGED)) == (11, True)


@pytest.mark.slow
def test_an_older_version_labelled_in_between_and_a_table_made_anew_are_labelled_again(lake: Lake) -> None:
    lake.write([("a", "a table"), ("b", "a rifle")])
    lake.label()
    lake.write([("a", "a replica"), ("b", "a rifle")], mode="overwrite")
    replaced = lake.label()
    assert replaced.written == 1 and "version 1 of the source replaced all rows" in replaced.candidates
    assert lake.label(source={"version": 0}).written == 1  # a's old content is its newest label now
    again = lake.label()
    assert (again.written, lake.current()["a"].rule_ids) == (1, ["M1"])
    lake.posts.rename(lake.folder / "old")
    lake.write([("a", "a table"), ("b", "a rifle")])
    lake.write([("c", "a lamp")])
    anew = lake.label()
    assert (anew.written, anew.candidates) == (2, "All rows are read: the table of the source changed.")


@pytest.mark.slow
def test_each_policy_is_covered_on_its_own_and_a_draft_that_changes_back_is_active(lake: Lake) -> None:
    lake.write(posts(4, "a table, number {n}"))
    one, other = policy(), policy(name="other", text="Something else.")
    lake.label(one)
    both = lake.label(one, other)
    assert (both.written, both.candidates) == (
        4,
        "All rows are read: no complete run has labelled them under other@1.0.0.",
    )
    assert is_unchanged(lake.label(other))
    draft = policy(text="No replicas at all.")
    lake.label(draft)
    assert is_unchanged(lake.label(other, one))
    active = lake.spark.sql("SELECT DISTINCT policy_hash FROM labels_current WHERE policy = 'market'").collect()
    assert [row[0] for row in active] == [one.policy_hash]


@pytest.mark.slow
def test_erased_restored_and_deleted_labels_are_seen(lake: Lake) -> None:
    lake.write(posts(6, "a table, number {n}"))
    lake.label()
    labels = f"delta.`{lake.tables}/labels`"
    version = lake.spark.sql(f"DESCRIBE HISTORY {labels} LIMIT 1").collect()[0].version
    erase_contents(lake.spark, lake.config(), ["p1", "p4"])
    erased = lake.label()
    assert erased.written == 2 and "labels were changed or erased (MERGE, version" in erased.candidates
    lake.spark.sql(f"RESTORE TABLE {labels} TO VERSION AS OF {version - 1}")
    assert lake.label().written == 6
    lake.spark.sql(f"DELETE FROM {labels} WHERE content_id = 'p2'")
    assert lake.label().written == 1


@pytest.mark.slow
def test_failed_rows_and_another_selection_are_not_passed_over(lake: Lake) -> None:
    lake.write([*posts(5, "a table, number {n}"), ("fails", "zzfail")])
    assert lake.label(run={"max_attempts": 2}).status is Status.partial
    assert lake.label(run={"max_attempts": 2}).pending == 1
    unchanged = lake.label(run={"max_attempts": 2})
    assert is_unchanged(unchanged) and "after 2 failures" in str(unchanged.message)
    retried = lake.label(run={"max_attempts": 3})
    assert (retried.pending, retried.candidates) == (
        1, "All rows are read: run.max_attempts changed."
    )  # fmt: skip
    assert lake.label(source={"text_column": "upper(body)"}, run={"max_attempts": 3}).written == 6


@pytest.mark.slow
def test_policies_that_were_labelled_at_different_versions_are_not_covered_together(lake: Lake) -> None:
    lake.write([("a", "a table")])
    lake.write([("a", "a replica")], mode="overwrite")
    one, other, old = policy(), policy(name="other", text="Something else."), {"version": 0}
    lake.label(one)
    lake.label(other, source=old)
    both = lake.label(one, other, source=old)
    assert both.written == 1 and "the policies were last labelled by different runs" in both.candidates
    assert is_unchanged(lake.label(one, other, source=old))


@pytest.mark.slow
def test_an_older_version_is_labelled_again_after_a_partial_run_over_a_newer_one(lake: Lake) -> None:
    lake.write([("a", "a table")])
    lake.label()
    lake.write([("a", "a replica"), ("fails", "zzfail")], mode="overwrite")
    assert lake.label().status is Status.partial
    older = lake.label(source={"version": 0})
    assert older.written == 1 and "labels of its contents were written in another way" in older.candidates
    assert lake.current()["a"].rule_ids == []


@pytest.mark.slow
def test_parquet_files_that_come_back_are_labelled_again_after_a_partial_run_over_others(lake: Lake) -> None:
    lake.write([("a", "a table")], format="parquet")
    lake.label()
    lake.posts.rename(lake.folder / "first")
    lake.write([("a", "a replica"), ("fails", "zzfail")], format="parquet")
    assert lake.label().status is Status.partial
    lake.posts.rename(lake.folder / "second")
    (lake.folder / "first").rename(lake.posts)
    assert lake.label().written == 1
    assert lake.current()["a"].rule_ids == []


@pytest.mark.slow
def test_an_unreadable_answer_that_may_change_is_tried_again(lake: Lake) -> None:
    lake.write([("a", "a table"), ("b", "zzgarbage")])
    sections = {"labeler": {"temperature": 0.5}, "run": {"max_attempts": 2}}
    assert lake.label(**sections).status is Status.complete
    assert lake.label(**sections).written == 1
    assert lake.label(**sections).pending == 0
    assert is_unchanged(lake.label(**sections))


@pytest.mark.slow
def test_a_sample_of_the_contents_is_covered_as_a_sample(lake: Lake) -> None:
    lake.write(posts(40, "a table, number {n}"))
    lake.create()

    def label_share(share: float) -> RunResult:
        config = lake.config(run={"shadow_share": share})
        return label_table(lake.spark, config, [policy()], show=False, selection=Selection(share=share))

    first = label_share(0.5)
    assert 5 < first.rows < 35 and is_unchanged(label_share(0.5))
    lake.write([(f"new{n}", f"a lamp, number {n}") for n in range(20)])
    more = label_share(0.5)
    assert more.candidates == "20 rows are read: files that were added since version 0 of the source."
    assert 0 < more.written < 20 and more.rows == first.rows + more.written
    larger = label_share(0.9)
    assert (
        larger.candidates == "All rows are read: run.shadow_share changed."
        and larger.written == larger.rows - more.rows > 0
    )
    assert lake.label().written == 60 - larger.rows


def reason(lake: Lake, **sections: Any) -> str:
    """Why a run would read all rows."""
    config = lake.config(**sections)
    source, specs = find_source(lake.spark, config.source), specs_of(config, [policy()])
    message = find_candidates(source, config, specs, Tables.open(lake.spark, config.output)).message
    return message.removeprefix("All rows are read: ").removesuffix(".")


@pytest.mark.slow
def test_each_setting_that_needs_a_full_pass_names_itself(lake: Lake) -> None:
    lake.write(posts(3, "a table, number {n}"))
    named = {"name": "posts"}
    lake.label(source=named)
    assert reason(lake, source=named).startswith(UNCHANGED)
    settings: tuple[tuple[str, dict[str, Any]], ...] = (
        ("source.id_column", {"source": {"id_column": "upper(id)"}}),
        ("source.text_column", {"source": {"text_column": "upper(body)"}}),
        ("source.conversation_column and source.text_column", {
            "source": {"text_column": None, "conversation_column": "array(struct('user' AS role, body AS text))"}
        }),
        ("source.options", {"source": {"options": {"ignoreDeletes": "true"}}}),
        ("source.duplicate_ids", {"source": {"duplicate_ids": "all"}}),
        ("source.limit", {"source": {"limit": 2}}),
        ("run.max_attempts", {"run": {"max_attempts": 9}}),
        ("run.max_attempts and source.limit", {"source": {"limit": 2}, "run": {"max_attempts": 9}}),
    )  # fmt: skip
    for name, sections in settings:
        changed = {**sections, "source": {**named, **sections.get("source", {})}}
        assert reason(lake, **changed) == f"{name} changed"
    for key in ("spark.sql.ansi.enabled", "spark.sql.caseSensitive"):
        before = str(lake.spark.conf.get(key))
        lake.spark.conf.set(key, "false" if before == "true" else "true")
        assert reason(lake, source=named) == f"{key} changed"
        lake.spark.conf.set(key, before)
    other = str(lake.folder / "other")
    lake.spark.read.format("delta").load(str(lake.posts)).write.format("delta").save(other)
    assert reason(lake, source={**named, "location": other}) == "the source changed"
    lake.spark.sql(f"ALTER TABLE delta.`{lake.posts}` ADD COLUMNS (day DATE)")
    assert reason(lake, source=named) == "the columns of the source changed"


@pytest.mark.slow
def test_sources_in_which_nothing_says_what_changed_are_read_as_a_whole_and_say_so(lake: Lake) -> None:
    lake.write(posts(3, "a table, number {n}"), format="json")
    assert "neither a Delta table nor Parquet files" in lake.label().candidates
    rows = lake.spark.read.json(str(lake.posts))
    rows.createOrReplaceTempView("lines")
    rows.write.format("delta").save(str(lake.folder / "delta"))
    table = f"delta.`{lake.folder}/delta`"
    views = {
        "lines_again": ("SELECT * FROM lines", "neither a Delta table nor Parquet files"),
        "pairs": (f"SELECT a.* FROM {table} a JOIN lines USING (id)", "more than the rows of one table"),
        "numbered": (f"SELECT max(id) AS id, body FROM {table} GROUP BY body", "more than the rows of one table"),
        "listed": (f"SELECT * FROM {table} WHERE id IN (SELECT id FROM lines)", "depends on other tables"),
        "recent": (f"SELECT * FROM {table} WHERE current_date() > DATE'2020-01-01'", "on the time"),
    }
    for name, (query, why) in views.items():
        lake.spark.sql(f"CREATE OR REPLACE TEMPORARY VIEW {name} AS {query}")
        assert why in reason(lake, source={"location": name})
        lake.spark.catalog.dropTempView(name)


@pytest.mark.slow
def test_of_a_view_over_one_table_the_rows_of_new_files_are_read(lake: Lake) -> None:
    lake.write([*((f"p{n}", f"a table, number {n}", "en") for n in range(9)), ("x", "eine Lampe", "de")], COLUMNS)
    lake.spark.sql(
        f"CREATE OR REPLACE TEMPORARY VIEW english AS SELECT concat('e-', id) AS id, upper(body) AS body "
        f"FROM delta.`{lake.posts}` WHERE lang = 'en'"
    )
    view = {"location": "english"}
    assert lake.label(source=view).written == 9
    assert is_unchanged(lake.label(source=view))
    lake.calls()
    lake.write([("new", "a rifle, new", "en"), ("y", "ein Tisch", "de")], COLUMNS)
    result = lake.label(source=view)
    assert result.candidates == "1 row is read: files that were added since version 0 of the source."
    assert (result.rows, result.written, lake.calls()) == (10, 1, 1)
    assert set(lake.current()) == {"e-new", *(f"e-p{n}" for n in range(9))}
    lake.spark.sql(f"UPDATE delta.`{lake.posts}` SET body = 'a lamp', lang = 'en' WHERE id IN ('x', 'p3')")
    assert (lake.label(source=view).written, lake.calls()) == (2, 1)
    other = str(lake.folder / "other")
    lake.spark.read.format("delta").load(str(lake.posts)).write.format("delta").save(other)
    definition = "CREATE OR REPLACE TEMPORARY VIEW english AS SELECT {} FROM delta.`{}` WHERE lang = 'en'"
    lake.spark.sql(definition.format("concat('e-', id) AS id, upper(body) AS body", other))
    assert reason(lake, source=view) == "the table of the source changed"
    lake.spark.sql(definition.format("*", lake.posts))
    assert reason(lake, source=view) == "the columns of the source changed"
    lake.spark.catalog.dropTempView("english")
