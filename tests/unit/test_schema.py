"""The tables' definition: what other programs rely on, and the view `labels_current` against its description."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safeguard_spark import schema, views
from safeguard_spark.labelling.verdict import Outcome
from safeguard_spark.schema import LABELS, REASONING, RUNS, TABLES

pytestmark = pytest.mark.unit

# docs/tables.md promises other programs that these names never change or disappear. New columns are not listed.
PROMISED = {
    "labels": """content_id content_hash policy policy_version policy_hash labeler labeler_hash work_key outcome
        violation category rule_ids confidence rationale model effort prompt_tokens cached_tokens completion_tokens
        attempt error run_id chunk source source_version labelled_at""",
    "reasoning": "work_key reasoning raw_output finish_reason run_id labelled_at",
    "runs": """run_id status started_at ended_at source source_version policies policy_hashes labeler_hashes rows
        pending calls written outcomes engine_starts tokens seconds mlflow_run_id""",
}
FIELD = r"[a-z]+: (STRING|BIGINT|DOUBLE)"
TYPES = (
    r"STRING|BOOLEAN|INT|BIGINT|DOUBLE|TIMESTAMP|ARRAY<STRING>|MAP<STRING, (BIGINT|DOUBLE)>"
    rf"|ARRAY<STRUCT<{FIELD}(, {FIELD})*>>"
)


def test_every_promised_column_exists() -> None:
    for table in TABLES:
        assert set(PROMISED.get(table.name, "").split()) <= set(table.names), table.name


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_each_column_is_unique_and_has_a_known_type_and_a_meaning(table: schema.Table) -> None:
    assert len(set(table.names)) == len(table.names)
    for column in table.columns:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", column.name)
        assert re.fullmatch(TYPES, column.type), column
        assert column.comment and not column.comment.endswith(".")
    assert table.ddl.startswith(f"{table.columns[0].name} {table.columns[0].type}, ")


def test_long_texts_come_after_the_columns_with_statistics() -> None:
    assert LABELS.names[-1] == "rationale" and REASONING.names[-2:] == ["reasoning", "raw_output"]
    assert RUNS.names[-1] == "config"


# Constraints, evaluated by DuckDB: their SQL is portable


def allowed(table: schema.Table, **values: object) -> bool:
    columns = ", ".join(f"{_literal(values.get(column.name))} AS {column.name}" for column in table.columns)
    checks = " AND ".join(f"coalesce({check}, true)" for _, check in table.checks)  # null passes a CHECK
    ((result,),) = duckdb.sql(f"SELECT {checks} FROM (SELECT {columns})").fetchall()
    return bool(result)


def _literal(value: object) -> str:
    if value is None or isinstance(value, bool | int):
        return "NULL" if value is None else str(value).lower()
    return "'" + str(value) + "'"


@pytest.mark.parametrize("outcome", Outcome)
def test_an_outcome_may_have_a_violation_only_if_the_content_was_judged(outcome: Outcome) -> None:
    judged = outcome in (Outcome.labelled, Outcome.screened)
    for violation in (True, False, None):
        assert allowed(LABELS, outcome=outcome.value, violation=violation, attempt=1) == (
            (violation is not None) == judged
        )


@pytest.mark.parametrize(
    "values", [{"outcome": "safe"}, {"outcome": "empty", "attempt": 0}, {"outcome": "empty", "confidence": "sure"}]
)
def test_impossible_values_are_refused(values: dict[str, object]) -> None:
    assert not allowed(LABELS, **{"attempt": 1, **values})


def test_a_run_has_a_final_status() -> None:
    statuses = ("complete", "partial", "failed", "died", "planned", "running")
    assert [status for status in statuses if allowed(RUNS, status=status)] == ["complete", "partial", "failed", "died"]


# The view


class Label(NamedTuple):
    collection: str | None
    source: str
    content_id: str
    policy: str
    policy_version: str
    policy_hash: str
    labeler_hash: str
    labelled_at: int
    attempt: int
    run_id: str
    chunk: int
    work_key: str
    screened_for: str | None = None


class Activation(NamedTuple):
    policy: str
    policy_version: str
    policy_hash: str
    labeler_hash: str | None
    activated_at: int
    run_id: str


LABELERS = st.sampled_from(["l1", "l2"])
VERSIONS = st.sampled_from([("1.0.0", "h1"), ("1.0.0", "h2"), ("2.0.0", "h2")])


@st.composite
def labels(draw: st.DrawFn) -> list[Label]:
    small = st.integers(0, 2)
    source = st.tuples(st.sampled_from([None, "x", "y"]), st.sampled_from("xy"))
    screened = st.one_of(st.none(), LABELERS)  # the labeler that a screen stands in for
    row = st.tuples(
        source, st.sampled_from("ab"), st.sampled_from("pq"), VERSIONS, LABELERS, small, small, small, screened
    )
    rows = draw(st.lists(row, max_size=12))
    # The work key distinguishes any two rows of one instant, as content and run do in real tables.
    return [
        Label(*source, content, policy, *version, labeler, labelled_at, attempt, f"r{run}", 0, f"k{number}", screened)
        for number, (source, content, policy, version, labeler, labelled_at, attempt, run, screened) in enumerate(rows)
    ]


@st.composite
def activations(draw: st.DrawFn) -> list[Activation]:
    labelers = st.one_of(st.none(), LABELERS)  # none: any, as earlier releases activated
    versions = draw(st.lists(st.tuples(st.sampled_from("pq"), VERSIONS, labelers), max_size=4))
    times = draw(st.permutations(range(len(versions))))
    return [
        Activation(policy, *version, labeler, time, "r")
        for time, (policy, version, labeler) in zip(times, versions, strict=True)
    ]


def view(rows: Sequence[Label], active: Sequence[Activation]) -> list[Label]:
    with duckdb.connect() as connection:
        for name, kind, table_rows in (("labels", Label, rows), ("activations", Activation, active)):
            columns = [f"{n} {'BIGINT' if t is int else 'VARCHAR'}" for n, t in kind.__annotations__.items()]
            missing = [f"{n} VARCHAR" for n in LABELS.names if n not in kind._fields] if kind is Label else []
            connection.execute(f"CREATE TABLE {name} ({', '.join([*columns, *missing])})")
            for row in table_rows:
                marks = ", ".join("?" * len(row))
                connection.execute(f"INSERT INTO {name} ({', '.join(kind._fields)}) VALUES ({marks})", list(row))
        select = views.labels_current("labels", "activations")
        result = connection.execute(f"SELECT {', '.join(Label._fields)} FROM ({select})").fetchall()
    return [Label(*row) for row in result]


@settings(max_examples=40)
@given(labels(), activations())
def test_the_view_is_the_newest_label_per_content_and_policy_under_the_active_version_and_labeler(
    rows: list[Label], active: list[Activation]
) -> None:
    active_version = {a.policy: a for a in sorted(active, key=lambda a: a.activated_at)}
    newest: dict[tuple[str, str, str], Label] = {}
    for row in sorted(rows, key=lambda r: (r.labelled_at, r.attempt, r.run_id, r.chunk, r.work_key)):
        version = active_version.get(row.policy)
        if version is None or version.labeler_hash not in (None, row.screened_for or row.labeler_hash):
            continue
        if (version.policy_version, version.policy_hash) == (row.policy_version, row.policy_hash):
            collection = row.collection or row.source
            newest[row.policy, collection, row.content_id] = row._replace(collection=collection)
    assert sorted(view(rows, active), key=str) == sorted(newest.values(), key=str)
