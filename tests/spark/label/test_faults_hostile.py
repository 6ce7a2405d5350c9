"""Ten thousand hostile rows in the label job: each gets the core's outcome, and none escapes its prompt."""

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from safeguard_spark.config.engine import Script, ScriptedConfig
from safeguard_spark.engines.scripted import ScriptedEngine
from safeguard_spark.labelling.labeler import Labeler
from safeguard_spark.labelling.rows import LabelSpec, Row, label_rows
from safeguard_spark.result import Status
from tests.build import policy
from tests.hostile import Hostile, corpus
from tests.spark.lake import Lake

pytestmark = [pytest.mark.spark, pytest.mark.slow]
ROWS = 10_000
TURN = pa.struct([("role", pa.binary()), ("text", pa.binary())])


def as_strings(column: pa.Array) -> pa.Array:
    """The same bytes as a column of strings, even if they are not UTF-8, as a careless program writes them."""
    if pa.types.is_list(column.type):
        turns = column.values
        fields = [as_strings(turns.field(name)) for name in ("role", "text")]
        struct = pa.StructArray.from_arrays(fields, ["role", "text"], mask=turns.is_null())
        return pa.ListArray.from_arrays(column.offsets, struct, mask=column.is_null())
    return column.view(pa.string())


def write(folder: Path, rows: list[tuple[str, Hostile]]) -> None:
    """Texts and conversations as two Parquet tables; half of each as strings, half as bytes."""
    for name, talk in (("texts", False), ("talks", True)):
        (folder / name).mkdir(parents=True)
        selected = [(id, row) for id, row in rows if row.is_conversation is talk]
        half = len(selected) // 2
        for part, members in (("a", selected[:half]), ("b", selected[half:])):
            cells = [row.turns if talk else row.text for _, row in members]
            if talk:
                turns = [None if t is None else [{"role": role, "text": text} for role, text in t] for t in cells]
                column = as_strings(pa.array(turns, pa.list_(TURN)))
            else:
                column = as_strings(pa.array(cells, pa.binary()))
            table = pa.table({"id": [id for id, _ in members], "cell": column})
            pq.write_table(table, folder / name / f"{part}.parquet", row_group_size=500)


@pytest.fixture(scope="module")
def rows() -> list[tuple[str, Hostile]]:
    return [(f"h{number}", row) for number, row in enumerate(corpus(ROWS))]


def test_ten_thousand_hostile_rows_have_ten_thousand_outcomes(lake: Lake, rows: list[tuple[str, Hostile]]) -> None:
    write(lake.folder, rows)
    written = 0
    for name, column in (("texts", "text_column"), ("talks", "conversation_column")):
        source = {"location": str(lake.folder / name), "text_column": None, column: "cell"}
        result = lake.label(source=source, run={"chunk_rows": 5_000})
        assert result.status is Status.complete
        written += result.written
    assert written == ROWS
    config = lake.config()
    spec = LabelSpec(policy(), Labeler.of(config, policy()))
    engine = ScriptedEngine(ScriptedConfig(args=Script(words=config.engine.args.words)))
    results = label_rows(spec, engine, (Row(number, row.content) for number, (_, row) in enumerate(rows)))
    expected = {rows[result.key][0]: (result.verdict.outcome.value, result.verdict.error) for result in results}
    labels = lake.read("labels").select("content_id", "outcome", "error").collect()
    assert {row.content_id: (row.outcome, row.error) for row in labels} == expected and len(labels) == ROWS
    counts = Counter(row.outcome for row in labels)
    assert set(counts) == {"labelled", "empty", "invalid_content", "too_long"}
    assert not [row for row in labels if "special tokens" in (row.error or "")]
