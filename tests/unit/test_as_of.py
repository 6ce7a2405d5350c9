"""`labels_current` and `labels_as_of`, whose SQL DuckDB and Spark share, against a replay of the history in Python."""

from datetime import datetime, timedelta
from typing import NamedTuple

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safeguard_spark import schema, views

pytestmark = pytest.mark.unit
BEGIN = datetime(2026, 5, 1)


class Label(NamedTuple):
    """A committed label; with `salt` it only measures noise."""

    content_id: str
    policy: str
    version: str
    violation: bool
    salt: str | None


class Activation(NamedTuple):
    """A version that becomes active."""

    policy: str
    version: str


policies, versions = st.sampled_from(["spam", "hate"]), st.sampled_from(["1.0.0", "1.1.0", "2.0.0"])
salts = st.sampled_from([None, None, None, "noise"])
labels = st.builds(Label, st.sampled_from(["a", "b", "c"]), policies, versions, st.booleans(), salts)
histories = st.lists(st.one_of(labels, st.builds(Activation, policies, versions)), max_size=25)


def replayed(history: list[Label | Activation], until: int) -> set[tuple[str, str, str, bool]]:
    """The current labels after the first `until` events: (content, policy, version, violation)."""
    active = {event.policy: event.version for event in history[:until] if isinstance(event, Activation)}
    newest = {
        (event.content_id, event.policy, event.version): event.violation
        for event in history[:until]
        if isinstance(event, Label) and event.salt is None
    }
    return {(*key, violation) for key, violation in newest.items() if active.get(key[1]) == key[2]}


def test_every_moment_shows_the_labels_current_then_of_one_version_of_each_policy() -> None:
    with duckdb.connect() as database:
        for table in (schema.LABELS, schema.ACTIVATIONS):
            columns = ", ".join(f"{c.name} {c.type.replace('ARRAY<STRING>', 'STRING[]')}" for c in table.columns)
            database.execute(f"CREATE TABLE {table.name} ({columns})")
        current = views.labels_current("labels", "policy_activations")
        past = views.labels_current("labels", "policy_activations", "moment")
        database.execute(f"CREATE VIEW labels_current AS {current}")
        database.execute(f"CREATE MACRO labels_as_of(moment) AS TABLE {past}")

        @settings(max_examples=60)
        @given(histories)
        def check(history: list[Label | Activation]) -> None:
            write(database, history)
            for until in range(len(history) + 1):
                moment = BEGIN + timedelta(minutes=until, seconds=30)
                rows = selected(database, f"labels_as_of(TIMESTAMP '{moment}')")
                assert set(rows) == replayed(history, until) and len(rows) == len(set(rows))
                shown_versions = {(policy, version) for _, policy, version, _ in rows}
                assert len(shown_versions) == len({policy for policy, _ in shown_versions})
            assert set(selected(database, "labels_current")) == replayed(history, len(history))

        check()


def selected(database: duckdb.DuckDBPyConnection, table: str) -> list[tuple[str, str, str, bool]]:
    return database.execute(f"SELECT content_id, policy, policy_version, violation FROM {table}").fetchall()


def write(database: duckdb.DuckDBPyConnection, history: list[Label | Activation]) -> None:
    database.execute("DELETE FROM labels; DELETE FROM policy_activations")
    for number, event in enumerate(history, 1):
        time = BEGIN + timedelta(minutes=number)
        if isinstance(event, Label):
            database.execute(
                "INSERT INTO labels (content_id, policy, policy_version, policy_hash, violation, salt, labelled_at, "
                "attempt, run_id, chunk, work_key) VALUES (?, ?, ?, ?, ?, ?, ?, 1, 'r', 0, 'k')",
                [event.content_id, event.policy, event.version, event.version, event.violation, event.salt, time],
            )
        else:
            database.execute(
                "INSERT INTO policy_activations (policy, policy_version, policy_hash, activated_at, run_id) "
                "VALUES (?, ?, ?, ?, 'r')",
                [event.policy, event.version, event.version, time],
            )
