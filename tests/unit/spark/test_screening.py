"""What a worker clears, without Spark around it: nothing that needs no call, and no more than the threshold says."""

import math
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from pyspark import cloudpickle

from safeguard_spark.labelling.content import Content
from safeguard_spark.screen.linear import LinearScreen
from safeguard_spark.spark.label.executor import Recipe
from safeguard_spark.spark.label.screening import ScreenRecipe, clear_batches, cost_batches
from tests.build import SCRIPT, label_spec, policy, run_config
from tests.unit.screen.test_record import screen

pytestmark = pytest.mark.unit

SECTIONS: dict[str, Any] = {
    "engine": {"kind": "scripted", "args": SCRIPT}, "labeler": {"max_prompt_tokens": 400},
}  # fmt: skip
TEXTS = [b"a table", b"a replica", None, b"  ", b"\xff", b"a lamp " * 4_000, b"a chair"]


def recipe(kind: str) -> ScreenRecipe:
    """Clears what scores below 0. As a worker gets it."""
    contents = [Content(f"a {word} {n}") for n in range(40) for word in ("table", "replica")]
    classifier = LinearScreen.train(contents, [False, True] * 40) if kind == "linear" else None
    labelling = Recipe(run_config(**SECTIONS), label_spec(policy(), **SECTIONS), "run", 4)
    made = ScreenRecipe(labelling, screen(kind=kind, threshold=0.0), classifier)
    sent: ScreenRecipe = cloudpickle.loads(cloudpickle.dumps(made))
    return sent


def batch(payload: str, cells: list[Any], kind: pa.DataType) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({
        "work_key": [f"k{number}" for number in range(len(cells))],
        "bucket": pa.array(range(len(cells)), pa.int32()),
        payload: pa.array(cells, kind),
    })  # fmt: skip


@pytest.mark.parametrize("kind", ["linear", "glance"])
def test_a_worker_clears_what_is_below_the_threshold_and_would_have_been_a_call(kind: str) -> None:
    batches = [batch("text", TEXTS, pa.binary()), batch("text", [], pa.binary())]
    cleared = pa.Table.from_batches(list(clear_batches(recipe(kind))(iter(batches))))
    assert cleared.to_pydict() == {
        "work_key": ["k0", "k6"], "bucket": [0, 6], "distance": [None, None], "error": [None, None],
    }  # fmt: skip


def test_of_a_glance_with_escalation_contents_that_were_not_cleared_have_their_distance() -> None:
    made = recipe("glance")
    labelling = replace(made.labelling, spec=label_spec(policy(), labeler={"effort": "low", "escalate": 0.1}))
    batches = [batch("text", [b"a table", b"a replica", b""], pa.binary())]
    staged = pa.Table.from_batches(list(clear_batches(replace(made, labelling=labelling))(iter(batches))))
    assert staged["work_key"].to_pylist() == ["k0", "k1"]
    assert staged["distance"].to_pylist() == [None, pytest.approx(math.log(0.9 / 0.1))]


def test_an_engine_that_does_not_work_clears_nothing_and_says_why_and_no_task_fails() -> None:
    made, down = recipe("glance"), {"kind": "endpoint", "url": "http://127.0.0.1:9", "model": "m", "patience_s": 0.5}
    made = replace(made, labelling=replace(made.labelling, config=run_config(engine=down)))
    batches = iter([batch("text", TEXTS, pa.binary()), batch("text", TEXTS, pa.binary())])
    (row,) = (row for part in clear_batches(made)(batches) for row in part.to_pylist())
    assert (row["work_key"], row["bucket"]) == (None, None) and math.isnan(row["distance"])  # it clears no content
    assert "127.0.0.1:9" in row["error"] and next(batches, None) is None


def test_conversations_are_scored_as_a_whole() -> None:
    turns = pa.list_(pa.struct([("role", pa.binary()), ("text", pa.binary())]))
    good, bad = {"role": b"user", "text": b"a table"}, {"role": b"user", "text": b"a replica"}
    batches = [batch("turns", [[good], [bad], [good, bad], None], turns)]
    cleared = pa.Table.from_batches(list(clear_batches(recipe("linear"))(iter(batches))))
    assert cleared["work_key"].to_pylist() == ["k0"]


def test_a_dry_run_counts_the_calls_and_those_that_are_cleared() -> None:
    (row,) = (part.to_pylist()[0] for part in cost_batches(recipe("linear"))(iter([batch("text", TEXTS, pa.binary())])))
    assert (row["calls"], row["cleared"]) == (3, 2)
    assert 0 < row["cleared_tokens"] < row["prompt_tokens"]
