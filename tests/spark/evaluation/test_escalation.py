"""What more effort buys, as `evaluate --versus` shows it, of a model that is known to be wrong at low effort."""

import json
from pathlib import Path
from typing import Any

import pytest

from safeguard_spark.evaluation.measures import Measure
from safeguard_spark.evaluation.result import SideResult
from safeguard_spark.policy.document import parse_policy
from tests.build import policy_text
from tests.faulty_server import SAFE, Call, FaultyServer, row_of, safe_answer
from tests.spark.evaluation.test_evaluate import evaluate, write_set
from tests.spark.label.test_faults_engine import engine
from tests.spark.lake import Lake

pytestmark = [pytest.mark.spark, pytest.mark.slow]
RIFLE = "- id: M2\n  category: weapons"
CRITICAL = parse_policy(policy_text().replace(RIFLE, f"{RIFLE}\n  severity: critical"))
WEAPON = json.dumps({**SAFE, "violation": 1, "category": "weapons", "rule_ids": ["M2"]})


def hasty(call: Call) -> str:
    """Of ten rows: 0 is a weapon; 1 and 2 look like one at low effort; 3 and 4 cannot be read at low effort."""
    kind, is_low = row_of(call.text) % 10, call.body["reasoning_effort"] == "low"
    if kind in (3, 4) and is_low:
        return "no answer"
    return WEAPON if kind == 0 or (kind in (1, 2) and is_low) else safe_answer(call)


def test_what_an_escalation_and_a_second_look_buy_is_what_the_model_gives(lake: Lake, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"text": f"row {n}", "market": int(n % 10 == 0), "arms": 0} for n in range(100)]
    golden_set = write_set(tmp_path, rows, slices=[], rules={})
    with FaultyServer(text_of=hasty) as server:
        found = evaluate(
            lake, golden_set, CRITICAL,
            sections={"engine": engine(server, dialect="chat"), "labeler": {"effort": "low"}},
            versus=["labeler.escalate=1.0", "labeler.escalate=0.1", "labeler.second_look=none"],
        )  # fmt: skip
    low, escalated, few, once = found.sets[0].sides
    assert [side.name.partition("/")[2] for side in found.sets[0].sides] == [
        "low", "low, labeler.escalate=1.0", "low, labeler.escalate=0.1", "low, labeler.second_look=none",
    ]  # fmt: skip

    def cells(side: SideResult) -> tuple[int | None, ...]:
        metric = side.metric("market", Measure.recall)
        assert metric is not None
        return metric.tp, metric.fp, metric.fn, metric.tn, metric.unreadable

    # 20 unreadable answers have 8 second looks, and 30 weapons their escalations: all of them, or 10.
    assert cells(low) == (10, 32, 0, 58, 12)
    assert cells(escalated) == (10, 12, 0, 78, 12)
    assert cells(once) == (10, 40, 0, 50, 20)
    remaining = (cells(few)[1] or 0) - 12
    assert 10 <= remaining <= 20
    gain = next(d for d in escalated.differences if (d.metric, d.slice) == (Measure.false_positive_rate, "*"))
    assert gain.value == pytest.approx(20 / 90)
    assert found.calls == (100 + 8) + (100 + 8 + 30) + (100 + 8 + 10) + 100 == len(server.calls)
