"""The demo's table: the same rows for a seed, gold as the marketplace policy says, and the odd rows early."""

from collections import Counter
from pathlib import Path

import pytest

from safeguard_spark.demo import content
from safeguard_spark.demo.corpus import TOPIC_OF
from safeguard_spark.labelling import prompt
from safeguard_spark.labelling.content import from_turns
from safeguard_spark.policy.document import NONE, Effort, load_policy
from tools.demo_model import rulebook

pytestmark = pytest.mark.unit

FOLDER = Path(__file__).parents[3] / "policies" / "marketplace"


def test_the_same_seed_makes_the_same_rows_and_another_makes_others() -> None:
    assert content.rows(200, seed=1) == content.rows(200, seed=1)
    assert content.rows(200, seed=1) != content.rows(200, seed=2)


def test_a_shorter_table_is_the_beginning_of_a_longer_one() -> None:
    assert content.rows(400)[:150] == content.rows(150)


def test_gold_names_topics_that_the_marketplace_policy_forbids() -> None:
    rules = load_policy(FOLDER / "1.0.0" / "policy.md")
    table = content.rows(2000)

    categories = {row["gold_category"] for row in table}

    assert set(content.RULED) == set(rules.categories)
    assert categories == {*content.RULED, NONE}
    assert all(row["gold_violation"] is (row["gold_category"] != NONE) for row in table)


def test_reposts_have_the_gold_of_what_they_repeat() -> None:
    table = content.rows(2000)
    gold = {str(row["turns"]): row["gold_category"] for row in table}

    times = Counter(str(row["turns"]) for row in table)

    assert len({row["id"] for row in table}) == 2000
    assert 50 < sum(times.values()) - len(times) < 400
    assert all(gold[str(row["turns"])] == row["gold_category"] for row in table)


def test_null_empty_hostile_and_foreign_rows_are_in_the_demos_own_table() -> None:
    table = content.rows(3000)
    bodies = {row["body"] for row in table}

    assert any(row["turns"] is None for row in table)
    assert "" in bodies and None in bodies
    assert {*content.HOSTILE, *content.LANGUAGES} <= bodies


def test_all_but_the_longest_rows_fit_the_demos_context() -> None:
    body = load_policy(FOLDER / "1.0.0" / "policy.md").body
    for row in content.rows(300):
        turns = None if row["turns"] is None else [(turn["role"], turn["text"]) for turn in row["turns"]]
        prompt.harmony(body, Effort.low, from_turns(turns), limit=2048)


def test_the_table_is_written_as_parquet_with_times_in_utc(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")

    table = parquet.read_table(content.write(tmp_path / "posts.parquet", count=50))

    assert table.num_rows == 50
    assert str(table.schema.field("created_at").type) == "timestamp[us, tz=UTC]"
    assert table.column("id").null_count == 0


@pytest.mark.parametrize("version", ["1.0.0", "1.1.0"])
def test_the_marketplace_policy_is_written_in_the_phrasing_the_model_reads(version: str) -> None:
    document = load_policy(FOLDER / version / "policy.md")
    lines = [line for line in document.body.splitlines() if line.startswith("### ")]

    for rule, line in zip(document.rules, lines, strict=True):
        lines = [rulebook.Line(rule.category, rule.id, allowed).text for allowed in (True, False)]
        assert line.removeprefix("### ") in lines
        assert rule.category in TOPIC_OF and rule.id in rulebook.codes()


def test_versions_of_the_marketplace_differ_by_the_rule_on_replicas() -> None:
    old, new = (load_policy(FOLDER / version / "policy.md").body for version in ("1.0.0", "1.1.0"))

    assert "### replicas (RE): not allowed" in old
    assert "### replicas (RE): allowed" in new
