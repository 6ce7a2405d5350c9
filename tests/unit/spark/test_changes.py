"""What a table's log says has changed, and whether the labels of a covered version are still those of it."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeguard_spark.keys import sha256
from safeguard_spark.labelling.rows import LabelSpec
from safeguard_spark.spark.commit_log import LabelScope
from safeguard_spark.spark.coverage import CoveredVersion, key_of, labels_changed
from safeguard_spark.spark.source.changes import FileAction, added_files, changed_files, file_actions, why_all
from safeguard_spark.spark.table_log import Commit, Point
from tests.build import labeler, policy

pytestmark = pytest.mark.unit

SPEC = LabelSpec(policy(), labeler())
COVERED = CoveredVersion(
    run_id="r", selection={"the source": "posts"}, source=Point(7, 1000), labels=Point(3, 900),
    activations=Point(1, 800), full_at=datetime(2026, 1, 1, tzinfo=UTC), rows=10,
)  # fmt: skip
SAME = LabelScope("posts", key_of(SPEC), sha256(COVERED.selection), 7)


def commit(operation: str, metadata: str | None = None, version: int = 9, **parameters: str) -> Commit:
    return Commit(Point(version, 2000), operation, parameters, metadata)


def scope_json(scope: LabelScope) -> str:
    import json

    return json.dumps({"run_id": "r", "chunk": 0, "seq": 1, "at": "2026-01-01T00:00:00", "scope": scope._asdict()})


@pytest.mark.parametrize(
    ("scope", "is_harmless"),
    [
        (SAME, True),
        (SAME._replace(version=12), True),
        (SAME._replace(version=13), False),  # newer than what is read now
        (SAME._replace(version=6), False),
        (SAME._replace(version=None), False),
        (SAME._replace(selection="another"), False),
        (SAME._replace(selection=None), False),
        (SAME._replace(collection="reviews", selection=None), True),
        (SAME._replace(spec="another policy", selection=None), True),
    ],
)
def test_labels_that_other_runs_wrote_do_harm_only_if_they_are_of_the_same_contents(
    scope: LabelScope, is_harmless: bool
) -> None:
    written = [commit("OPTIMIZE"), commit("WRITE", scope_json(scope))]
    assert (labels_changed(written, COVERED, "posts", [SPEC], 12) is None) is is_harmless


def test_labels_written_after_another_list_of_files_are_not_relied_on() -> None:
    of_files = COVERED.model_copy(update={"files": {"a.parquet": "1 2"}})
    for version, is_harmless in ((7, True), (8, False)):
        written = [commit("WRITE", scope_json(SAME._replace(version=version)))]
        assert (labels_changed(written, of_files, "posts", [SPEC], 12) is None) is is_harmless


@pytest.mark.parametrize("operation", ["MERGE", "DELETE", "RESTORE", "WRITE", "UPDATE", "TRUNCATE"])
def test_labels_that_anything_else_changed_are_not_relied_on(operation: str) -> None:
    for metadata in (None, "", "{}", '{"erased_ids": 3}', '{"scope": 1}', '{"scope": {"collection": "posts"}}'):
        assert labels_changed([commit(operation, metadata)], COVERED, "posts", [SPEC], 12)
    assert labels_changed([commit("VACUUM END"), commit("SET TBLPROPERTIES")], COVERED, "posts", [SPEC], 12) is None


@pytest.mark.parametrize(
    ("change", "reads_all"),
    [
        (commit("WRITE", mode="Append"), False),
        (commit("MERGE"), False),
        (commit("STREAMING UPDATE", outputMode="Append"), False),
        (commit("STREAMING UPDATE", outputMode="Complete"), True),
        (commit("WRITE", mode="Overwrite"), True),
        (commit("WRITE", mode="Overwrite", predicate="[\"(day = '1')\"]"), False),
        (commit("RESTORE"), True),
        (commit("RENAME COLUMN"), True),
        (commit("CREATE OR REPLACE TABLE AS SELECT", mode="Overwrite"), True),
        (commit("AN OPERATION OF ANOTHER RELEASE"), True),
        (commit("OPTIMIZE"), False),
    ],
)
def test_a_source_that_was_replaced_or_is_read_in_another_way_is_read_as_a_whole(
    change: Commit, reads_all: bool
) -> None:
    assert (why_all([commit("MERGE"), change]) is not None) is reads_all


@st.composite
def histories(draw: st.DrawFn) -> tuple[dict[str, set[int]], list[FileAction], dict[str, set[int]]]:
    """Files with their rows before, what happened to them, and those after. Every added row is new to the table."""
    before = {f"old{n}": {n} for n in range(draw(st.integers(0, 4)))}
    files, actions, next_row = dict(before), list[FileAction](), 100
    for version in range(draw(st.integers(1, 6))):
        removed = draw(st.sets(st.sampled_from(sorted(files)))) if files else set()
        rows = set[int]().union(*(files[name] for name in removed))
        is_compaction = draw(st.booleans())
        if not is_compaction:
            rows = {row for row in rows if draw(st.booleans())} | set(
                range(next_row, next_row + draw(st.integers(0, 2)))
            )
            next_row += 10
        added = {f"v{version}": rows} if rows else {}
        files = {name: rows for name, rows in files.items() if name not in removed} | added
        actions += [FileAction(version, name, False) for name in sorted(removed)]
        actions += [FileAction(version, name, True, not is_compaction) for name in added]
    return before, actions, files


@given(histories())
def test_every_new_row_is_in_a_changed_file(
    history: tuple[dict[str, set[int]], list[FileAction], dict[str, set[int]]],
) -> None:
    before, actions, after = history
    changed = changed_files(actions)
    unchanged_rows = set[int]().union(*(rows for name, rows in after.items() if name not in changed))
    assert unchanged_rows <= set[int]().union(*before.values())
    assert {action.path for action in added_files(actions)} == changed & set(after)


def test_a_compaction_of_old_files_changes_none() -> None:
    compaction = [FileAction(5, "a", False), FileAction(5, "b", False), FileAction(5, "ab", True)]
    assert changed_files(compaction) == set()
    append = FileAction(4, "a", True, True)
    assert changed_files([append, *compaction]) == {"a", "ab"}


def test_actions_are_those_of_the_log_with_the_newest_form_of_each_file() -> None:
    add = '{"add":{"path":"a","dataChange":true,"stats":"{\\"minValues\\":{\\"body\\":\\"x\u2028y\\"}}"}}'
    with_deleted_rows = '{"add":{"path":"a","dataChange":true,"deletionVector":{}}}'
    first = f'{{"commitInfo":{{"operation":"WRITE"}}}}\n{add}\n'
    second = f'{with_deleted_rows}\n{{"remove":{{"path":"a","dataChange":true}}}}\n'
    actions = [*file_actions(3, first), *file_actions(4, second)]
    assert [action.text for action in added_files(actions[:1])] == [add]
    assert [action.text for action in added_files(actions)] == [with_deleted_rows]
    assert added_files([*actions, FileAction(5, "a", False)]) == []
