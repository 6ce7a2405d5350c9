"""A gate says which line failed and by how much."""

import pytest

from safeguard_spark.config.model import GateConfig
from safeguard_spark.evaluation.comparison.compare import Pair, VerdictKey, compare_pairs
from safeguard_spark.evaluation.gate import GateLine, cases_lines, failed, table_lines, unexplained
from safeguard_spark.relabel.rules import RuleChanges

pytestmark = pytest.mark.unit

SAFE, WEAPON, SPAM = VerdictKey(False), VerdictKey(True, "weapons", ("M2",)), VerdictKey(True, "spam", ("M4",))


def test_a_line_names_what_was_asked_and_by_how_much_it_failed() -> None:
    short = GateLine("coverage of the table", 0.99, 0.61, True)
    over = GateLine("unexplained flips", 0.02, 0.05, False, "noise was not measured, so all of them count")
    assert str(short) == "coverage of the table: 0.61, at least 0.99 is asked, short by 0.38"
    assert str(over).startswith("unexplained flips: 0.05, at most 0.02 is asked, over by 0.03 (noise")
    assert failed([short, over, GateLine("x", 0.5, 0.5, True), GateLine("y", 0.5, 0.5, False)]) == [short, over]
    assert not GateLine("x", 0.0, None, True).met  # nothing measured is nothing met
    assert "nothing could be measured" in str(GateLine("x", 0.9, None, True))


def test_only_what_is_asked_is_a_line() -> None:
    nothing = GateConfig(cases=False, min_coverage=None)
    assert table_lines(nothing, None, None, None) == []
    everything = GateConfig(max_unexplained_flips=0.1, min_coverage=0.5, min_gold_precision=0.8, min_gold_recall=0.7)
    lines = table_lines(everything, 0.6, None, (0.9, 0.5))
    assert [(line.name, line.met) for line in lines] == [
        ("coverage of the table", True), ("unexplained flips", False), ("gold precision", True), ("gold recall", False),
    ]  # fmt: skip


def test_noise_is_taken_off_what_no_rule_explains() -> None:
    pairs = [Pair(WEAPON, SAFE, 10), Pair(SAFE, SPAM, 5), Pair(SAFE, SAFE, 85)]
    changes = RuleChanges(changed=("M2",))
    alone = compare_pairs(("a", "b"), pairs, changes=changes)
    assert unexplained(alone) == (0.05, "noise was not measured, so all of them count")
    beside = compare_pairs(("a", "b"), pairs, [Pair(SAFE, SAFE, 98), Pair(SAFE, SPAM, 2)], changes=changes)
    value, note = unexplained(beside)
    assert value == pytest.approx(0.03) and note == "less the noise of 0.02"
    assert unexplained(None)[0] is None


def test_a_policy_without_cases_does_not_pass_them() -> None:
    [line] = cases_lines(None)
    assert not line.met and "relabel.gate.cases=false" in str(line)
