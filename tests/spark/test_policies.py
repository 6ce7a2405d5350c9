"""The tables `policies` and `policy_rules`: what the policies were that labels were made under."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from pyspark.sql import DataFrame

from safeguard_spark.authoring.publish import publish_all, publish_candidates
from safeguard_spark.policy.document import load_policy
from safeguard_spark.spark.policies import record_policies
from safeguard_spark.spark.tables import Tables
from safeguard_spark.tracking.registry import user_name
from tests.build import policy
from tests.spark.lake import Lake
from tests.unit.samples import POLICY, edited, write_policy

pytestmark = pytest.mark.spark

# The query of docs/tables.md in the form of a test: violations by severity, with titles.
BY_RULE = """
SELECT r.rule_id, r.severity, r.title, count(*) AS violations
FROM labels_current l
JOIN policy_rules_current r ON r.policy = l.policy AND r.policy_version = l.policy_version
  AND r.policy_hash = l.policy_hash AND array_contains(l.rule_ids, r.rule_id)
GROUP BY r.rule_id, r.severity, r.title ORDER BY r.rule_id
"""


def both(lake: Lake, query: str) -> list[tuple[object, ...]]:
    """The rows of a query, the same in Spark and by `views.sql` in DuckDB."""
    rows = [tuple(row) for row in lake.spark.sql(query).collect()]
    with lake.duckdb() as connection:
        assert connection.execute(query).fetchall() == rows
    return rows


def test_rules_join_by_id_in_spark_and_duckdb_and_say_who_published_them(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = lake.folder / "policies"
    text = edited(POLICY, ("description: What may be offered.", "languages: [pt, en]"), (", title: Stolen goods}", "}"))
    file = write_policy(folder, text)
    words = {"kind": "scripted", "args": {"words": {"replica": "M1", "fell off": "M2"}}}
    sections = {"engine": words, "policies": folder}
    lake.write([("a", "replica"), ("b", "fell off a truck"), ("c", "replica twice"), ("d", "a concert")])
    first = load_policy(file)
    lake.label(first, **sections)
    assert both(lake, BY_RULE) == [("M1", "high", "Counterfeit goods", 2), ("M2", "medium", None, 1)]
    columns = "policy, policy_version, policy_hash, owner, output, published_by, text, languages"
    [row] = both(lake, f"SELECT {columns} FROM policies")
    ref = ("market", "1.0.0", first.policy_hash)
    assert row == (*ref, "trust@example.org", "full", None, first.body, ["pt", "en"])

    # Published later: who and when is added, once. A document with other titles is another row, which the view has.
    [candidate], _ = publish_candidates([file], folder)
    publish_all([candidate], lake.config(**sections))
    for _ in range(2):
        assert lake.label(first, **sections).calls == 0
    file.write_text(file.read_text().replace("Counterfeit goods", "Replicas"))
    newer = load_policy(file)
    assert newer.policy_hash == first.policy_hash
    lake.label(newer, **sections)
    hashes = [first.document_hash, first.document_hash, newer.document_hash]
    rows = both(lake, "SELECT document_hash, published_by FROM policies ORDER BY recorded_at")
    assert rows == list(zip(hashes, [None, user_name(), None], strict=True))
    assert both(lake, "SELECT document_hash FROM policies_current") == [(newer.document_hash,)]
    assert both(lake, BY_RULE) == [("M1", "high", "Replicas", 2), ("M2", "medium", None, 1)]
    published_at = lake.read("policies").where("published_at IS NOT NULL").first()["published_at"].astimezone(UTC)
    assert abs(datetime.now(UTC) - published_at) < timedelta(minutes=10)


def test_drivers_that_record_a_version_at_once_append_it_once(lake: Lake) -> None:
    lake.create()
    tables, config = Tables(lake.spark, str(lake.tables)), lake.config(policies=lake.folder / "none")
    policies = [policy(name, rules={"Z9": "z", "A1": "a"}) for name in ("tickets", "spam")]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda n: record_policies(tables, policies, config, f"run-{n}"), range(3)))
    assert rows_of(lake.read("policies"), "policy") == [("spam",), ("tickets",)]
    assert rows_of(lake.read("policy_rules"), "policy", "rank", "rule_id") == [
        ("spam", 1, "Z9"), ("spam", 2, "A1"), ("tickets", 1, "Z9"), ("tickets", 2, "A1"),
    ]  # fmt: skip


def rows_of(frame: DataFrame, *columns: str) -> list[tuple[object, ...]]:
    return [tuple(row) for row in frame.select(*columns).orderBy(*columns).collect()]
