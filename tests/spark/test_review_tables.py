"""The console and Spark share tables, whoever of them made these."""

from typing import Any

import pytest

from safeguard_spark.schema import DECISIONS, REVIEW_ITEMS
from safeguard_spark.spark.tables import Tables
from tests.spark.lake import Lake
from tests.unit.review.world import World

pytestmark = pytest.mark.spark


@pytest.mark.parametrize("is_made_by_spark", [True, False])
def test_spark_and_the_console_write_to_the_same_tables(lake: Lake, is_made_by_spark: bool) -> None:
    output = str(lake.folder / "tables")
    if is_made_by_spark:
        Tables.open_or_create(lake.spark, output)
    world = World(lake.folder)
    world.draw("a bicycle", "a chair")
    with world.serving() as desk:
        ada = desk.person()
        ada.get("/queue/market")
        ada.decide("violation", "M1", reason="r")
    tables = Tables.open_or_create(lake.spark, output)
    assert tables.read(REVIEW_ITEMS).count() == 2
    row: Any = tables.read(DECISIONS).first()
    assert (row.answer, row.rule_ids, row.is_blind, row.content_id) == ("violation", ["M1"], True, "p0")
    for table in (REVIEW_ITEMS, DECISIONS):  # Spark appends what it has read, and keeps to the same constraints
        tables.read(table).write.format("delta").mode("append").save(f"{output}/{table.name}")
        assert tables.read(table).count() == {"review_items": 4, "decisions": 2}[table.name]
