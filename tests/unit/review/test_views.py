"""The views for analysts agree with the console on what was decided, and queues that find errors enter no rate."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeguard_spark.analyst_views import DUCKDB, analyst_views
from safeguard_spark.review.decisions import VIOLATION, Decision, resolve
from safeguard_spark.review.draws import DrawRequest
from safeguard_spark.review.estimate import Judged, corrected_rates, share_with_bounds
from safeguard_spark.review.sampling import ReviewStratum
from safeguard_spark.review.tables import arrow_schema
from safeguard_spark.schema import ACTIVATIONS, DECISIONS, REVIEW_ITEMS
from tests.unit.review.world import START, item_row

pytestmark = pytest.mark.unit

FLAGGED, UNFLAGGED = ReviewStratum.flagged, ReviewStratum.unflagged
# An item, a stage, an answer, whether it is blind, and at 0 that the last decision is taken back instead.
MADE = st.tuples(
    st.integers(0, 3), st.sampled_from(["first", "second", "adjudication"]),
    st.sampled_from(["violation", "safe", "unsure", "gap"]), st.booleans(), st.integers(0, 8),
)  # fmt: skip


@contextmanager
def views(items: list[dict[str, Any]], decisions: list[dict[str, Any]]) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with the views over items and decisions alone."""
    with duckdb.connect() as connection:
        for table, rows in ((REVIEW_ITEMS, items), (DECISIONS, decisions)):
            connection.register(table.name, pa.Table.from_pylist(rows, arrow_schema(table)))
        names = ("labels", "labels_current", "runs", "policy_activations", "review_items", "decisions")
        selects = analyst_views({name: name for name in names}, DUCKDB)
        for name in ("reviewed_items", "review_samples", "review_queues", "overturns"):
            connection.execute(f"CREATE VIEW {name} AS {selects[name]}")
        yield connection


def decision(number: int, item: dict[str, Any], stage: str, answer: str, **changes: Any) -> dict[str, Any]:
    """A row of `decisions`, a second later for each number."""
    shared = ("item_id", "collection", "content_id", "content_hash", "policy", "policy_version", "policy_hash")
    return {
        **{name: item[name] for name in shared}, "decision_id": f"d{number:06d}", "stage": stage, "reviewer": stage,
        "answer": answer, "violation": VIOLATION.get(answer), "rule_ids": [], "is_blind": True, "withdraws": None,
        "seconds": 1.0, "decided_at": datetime.fromtimestamp(START, UTC) + timedelta(seconds=number), "reason": None,
        **changes,
    }  # fmt: skip


@given(st.lists(MADE, max_size=12))
def test_what_counts_is_what_the_console_says(made: list[tuple[int, str, str, bool, int]]) -> None:
    items = [item_row(number, {}) for number in range(4)]
    decisions: list[dict[str, Any]] = []
    for number, (item, stage, answer, is_blind, back) in enumerate(made):
        if back == 0 and decisions:  # takes back the last one
            taken = decisions[-1]
            if taken["answer"] != "withdrawn":
                changes = {"withdraws": taken["decision_id"], "violation": None, "is_blind": False}
                owner = next(row for row in items if row["item_id"] == taken["item_id"])
                decisions.append(decision(number, owner, taken["stage"], "withdrawn", **changes))
                continue
        decisions.append(decision(number, items[item], stage, answer, is_blind=is_blind))
    with views(items, decisions) as connection:
        query = (
            "SELECT item_id, answer, decided_violation, decided_stage, is_disputed, blind_violation FROM reviewed_items"
        )
        rows = {row[0]: row[1:] for row in connection.execute(query).fetchall()}
    for item in items:
        resolved = resolve(Decision.of(row) for row in decisions if row["item_id"] == item["item_id"])
        final, second = resolved.final, resolved.second
        is_disputed = bool(final and second and final.stage != "adjudication" and final.violation != second.violation)
        assert rows[item["item_id"]] == (
            final.answer if final else None,
            final.violation if final and not is_disputed else None,
            final.stage if final else None,
            is_disputed,
            rows[item["item_id"]][4],
        )


@pytest.mark.slow
def test_in_a_world_whose_truth_is_known_the_corrected_interval_covers_it_and_others_do_not() -> None:
    """1,000,000 contents, 2 % flagged with precision 0.7, and 0.2 % of the others are violations that were missed.

    The items, decisions and views are those of a real review. Next to each sample lie 600 items of a queue that finds
    errors, most of them errors.
    """
    contents = {FLAGGED: 20_000, UNFLAGGED: 980_000}
    precision, miss_rate = 0.7, 0.002
    caught, missed = contents[FLAGGED] * precision, contents[UNFLAGGED] * miss_rate
    truth, recall = (caught + missed) / 1_000_000, caught / (caught + missed)
    rates = DrawRequest(half_width=0.003).rates(contents)
    covered = {"corrected": 0, "precision": 0, "recall": 0, "of all decisions": 0, "by the model": 0}
    for seed in range(100):
        chance = random.Random(seed)
        items, decisions = [], []
        for stratum, share in ((FLAGGED, precision), (UNFLAGGED, miss_rate)):
            expected = contents[stratum] * rates[stratum]
            for _ in range(round(chance.gauss(expected, expected**0.5))):  # each content is drawn by its own hash
                columns = {
                    "stratum": stratum.value, "stratum_size": contents[stratum], "violation": stratum is FLAGGED,
                    "inclusion_probability": rates[stratum],
                }  # fmt: skip
                items.append(item_row(len(items), columns))
                answer = "violation" if chance.random() < share else "safe"
                decisions.append(decision(len(items), items[-1], "first", answer))
        for _ in range(600):
            items.append(item_row(len(items), {"purpose": "disagreement"}))
            answer = "violation" if chance.random() < 0.6 else "safe"
            decisions.append(decision(len(items), items[-1], "first", answer))
        with views(items, decisions) as connection:
            strata = connection.execute("SELECT stratum, stratum_size, violations, safe FROM review_samples").fetchall()
            ((hits, n),) = connection.execute(
                "SELECT count_if(decided_violation), count(answer) FROM reviewed_items"
            ).fetchall()
        assert {stratum: size for stratum, size, _, _ in strata} == {key.value: contents[key] for key in contents}
        judged = [
            Judged(ReviewStratum(stratum), is_violation, items)
            for stratum, _, violations, safe in strata
            for is_violation, items in ((True, violations), (False, safe))
        ]
        found = corrected_rates(judged, contents)
        everything = share_with_bounds(hits, n)
        for name, rate, value in (
            ("corrected", found.corrected, truth), ("precision", found.precision, precision),
            ("recall", found.recall, recall), ("of all decisions", everything, truth),
            ("by the model", share_with_bounds(contents[FLAGGED], 1_000_000), truth),
        ):  # fmt: skip
            assert rate is not None
            covered[name] += rate.low <= value <= rate.high
        assert found.corrected is not None and found.corrected.high - found.corrected.low < 0.009
    assert min(covered["corrected"], covered["precision"], covered["recall"]) >= 93, covered
    assert (covered["of all decisions"], covered["by the model"]) == (0, 0)


def test_overturns_and_queues_are_counted_apart_from_the_sample() -> None:
    flagged = {"stratum": "flagged", "violation": True, "rule_ids": ["M1", "M2"]}
    unreadable, low = {"purpose": "unreadable", "violation": None, "outcome": "refused"}, {"purpose": "low_confidence"}
    rows = [flagged, flagged, {}, unreadable, {**low, "violation": True, "rule_ids": []}, low]
    items = [item_row(number, row) for number, row in enumerate(rows)]
    answers = ["safe", "violation", "violation", "violation", "safe"]
    decisions = [decision(3600 * (n + 1), items[n], "first", answer) for n, answer in enumerate(answers)]
    with views(items, decisions) as connection:
        overturns = connection.execute(
            "SELECT violation, rule, is_sample, decided, overturned FROM overturns ORDER BY ALL"
        ).fetchall()
        queues = connection.execute(
            "SELECT purpose, items, decided, waiting, median_hours, overturned FROM review_queues ORDER BY purpose"
        ).fetchall()
    assert overturns == [
        (False, None, True, 1, 1), (True, "M1", True, 2, 1), (True, "M2", True, 2, 1), (True, None, False, 1, 1),
    ]  # fmt: skip
    assert queues == [
        ("estimate", 3, 3, 0, 2.0, 2), ("low_confidence", 2, 1, 1, 5.0, 1), ("unreadable", 1, 1, 0, 4.0, 0),
    ]  # fmt: skip


def test_the_views_of_labels_and_runs_say_when_a_version_was_active() -> None:
    at = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
    activation = dict.fromkeys(ACTIVATIONS.names) | {"policy": "market", "labeler": "m/low", "run_id": "r"}
    rows = [{**activation, "policy_version": f"1.{n}.0", "activated_at": at + timedelta(days=n)} for n in range(2)]
    names = ("labels", "labels_current", "runs", "policy_activations", "review_items", "decisions")
    select = analyst_views({name: name for name in names}, DUCKDB)["active_versions"]
    with duckdb.connect() as connection:
        connection.register("policy_activations", pa.Table.from_pylist(rows, arrow_schema(ACTIVATIONS)))
        listed = connection.execute(
            f"SELECT policy_version, active_from, active_until FROM ({select}) ORDER BY 2"
        ).fetchall()
    assert listed == [("1.0.0", at, at + timedelta(days=1)), ("1.1.0", at + timedelta(days=1), None)]
