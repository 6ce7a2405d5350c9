"""What a promotion takes from `labels_current`: contents of every collection, not only of the configured source."""

from typing import Any

import pytest

from safeguard_spark import schema
from safeguard_spark.errors import GateError
from safeguard_spark.labelling.labeler import Labeler
from safeguard_spark.labelling.rows import LabelSpec
from safeguard_spark.policy.document import Policy
from safeguard_spark.spark.activations import activate, active
from safeguard_spark.spark.relabel.leaving import NAMED, Covered, contents_that_leave
from safeguard_spark.spark.relabel.promote import promote_version
from safeguard_spark.spark.tables import Tables
from tests.spark.lake import Lake
from tests.spark.relabelling import NEW, OLD, configured, posts
from tests.spark.test_labels import label

pytestmark = [pytest.mark.spark, pytest.mark.slow]


def rows_of(lake: Lake, collection: str, count: int, *versions: Policy, **values: Any) -> list[dict[str, Any]]:
    """A label of each content of a collection under each version, by the configured labeler."""
    return [
        label(
            f"{collection}{number}", version, collection=collection, source=collection, work_key=f"w{number}",
            labeler_hash=Labeler.of(configured(lake), version).labeler_hash, **values,
        )
        for version in versions
        for number in range(count)
    ]  # fmt: skip


def opened(lake: Lake, rows: list[dict[str, Any]]) -> Tables:
    """Tables with these labels, in which OLD is active."""
    lake.create()
    tables = Tables.open_or_create(lake.spark, str(lake.tables))
    tables.append(schema.LABELS, rows, "rows")
    activate(tables, OLD, Labeler.of(configured(lake), OLD).ref, "r", "first labelled")
    return tables


def test_a_promotion_counts_the_contents_of_every_collection_and_not_only_of_its_source(lake: Lake) -> None:
    lake.write(posts(8))
    rows = rows_of(lake, "reviews", 4, OLD) + rows_of(lake, "reviews", 1, NEW) + rows_of(lake, "chats", 2, OLD, NEW)
    # Neither what another version, a salt or a golden set has labels of is shown because of this version, nor a repeat.
    rows += rows_of(lake, "profiles", 9, NEW) + rows_of(lake, "noise", 9, OLD, salt="noise")
    rows += rows_of(lake, "golden", 9, OLD) + rows_of(lake, "chats", 2, OLD, run_id="again")
    tables = opened(lake, rows)
    tables.append(schema.EVALUATIONS, [dict.fromkeys(schema.EVALUATIONS.names) | {"golden_set": "golden@2"}], "e")
    for version in (OLD, NEW):
        lake.label(version, source={"name": "posts"})
    required = configured(lake, relabel={"gate": {"cases": False, "min_coverage": 0.9}})
    with pytest.raises(GateError) as refused:
        promote_version(lake.spark, required, NEW)
    # 8 of 8 posts, 2 of 2 chats, 1 of 4 reviews
    sentences = "coverage of all collections: 0.7857, at least 0.9 is required", "and none under 1.1.0: 3 of reviews."
    assert all(sentence in str(refused.value) for sentence in sentences), refused.value
    assert "coverage of the table" not in str(refused.value)
    before = len(lake.read("labels").where("salt IS NULL").select("collection", "content_id").distinct().collect())
    assert before == 8 + 4 + 2 + 9 + 9
    loose = configured(lake, relabel={"gate": {"cases": False, "min_coverage": 0.78}})
    done = promote_version(lake.spark, loose, NEW)
    assert not done.forced and done.to_json()["leaving"] == {"contents": 3, "largest": {"reviews": 3}}
    # A rollback is not refused, and says what it takes: the profiles have no label under OLD.
    back = promote_version(lake.spark, required, OLD)
    assert back.is_rollback and back.leaving.largest == (("profiles", 9),)
    assert "under 1.1.0 and none under 1.0.0: 9 of profiles." in back.leaving.sentence


def test_many_collections_are_counted_and_the_largest_named(lake: Lake) -> None:
    rows = [row for number in range(NAMED + 3) for row in rows_of(lake, f"day{number}", number + 1, OLD)]
    rows += rows_of(lake, "read", 2, OLD, NEW) + rows_of(lake, "unread", 3, OLD)
    rows += rows_of(lake, "unread", 3, NEW, outcome="unparseable", violation=None)
    tables = opened(lake, rows)
    spec = LabelSpec(NEW, Labeler.of(configured(lake), NEW))
    leaving = contents_that_leave(tables, spec, active(tables, "market"), "day7")
    assert leaving.largest == tuple((f"day{number}", number + 1) for number in range(NAMED + 2, 2, -1))
    assert leaving.contents == sum(range(1, NAMED + 4))
    assert f"4 of day3, {1 + 2 + 3} of other collections. To keep" in leaving.sentence
    # A label that could not be read stays in the view and covers nothing. The source's own contents are counted there.
    assert leaving.elsewhere == Covered(2, sum(range(1, NAMED + 3)) + 2 + 3)
    # By another labeler, one version has both sides.
    other = LabelSpec(OLD, Labeler.of(configured(lake, labeler={"effort": "high"}), OLD))
    changed = contents_that_leave(tables, other, active(tables, "market"), None)
    assert changed.contents == leaving.contents + 2 + 3
    assert f"under 1.0.0 by {spec.labeler.ref} and none under 1.0.0 by {other.labeler.ref}: " in changed.sentence
