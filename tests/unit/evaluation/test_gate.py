"""A gate says which line failed and by how much."""

import pytest

from safeguard_spark.authoring.requirement import Bound, Requirement
from safeguard_spark.config.model import GateConfig
from safeguard_spark.evaluation.comparison.compare import Pair, VerdictKey, compare_pairs
from safeguard_spark.evaluation.gate import cases_lines, failed, table_lines, unexplained
from safeguard_spark.evaluation.intervals import Weighted, rate
from safeguard_spark.relabel.rules import RuleChanges

pytestmark = pytest.mark.unit

SAFE, WEAPON, SPAM = VerdictKey(False), VerdictKey(True, "weapons", ("M2",)), VerdictKey(True, "spam", ("M4",))


def test_a_line_names_what_is_required_and_by_how_much_it_failed() -> None:
    short = Requirement("coverage of the table", Bound.minimum, 0.99, 0.61)
    over = Requirement("unexplained flips", Bound.maximum, 0.02, 0.05, "noise was not measured, so all of them count")
    assert str(short) == "coverage of the table: 0.61, at least 0.99 is required, short by 0.38"
    assert str(over).startswith("unexplained flips: 0.05, at most 0.02 is required, over by 0.03 (noise")
    equal = [Requirement("x", bound, 0.5, 0.5) for bound in Bound]
    assert failed([short, over, *equal]) == [short, over]
    unmeasured = Requirement("x", Bound.minimum, 0.0, None)
    assert not unmeasured.met and "nothing could be measured" in str(unmeasured)


def test_stored_gate_lines_keep_their_keys() -> None:
    over = Requirement("unexplained flips", Bound.maximum, 0.02, 0.05, "a note")
    assert over.to_json() == {
        "name": "unexplained flips", "asked": 0.02, "value": 0.05, "is_least": False, "note": "a note", "met": False,
    }  # fmt: skip


def test_only_what_the_configuration_requires_is_a_line() -> None:
    nothing = GateConfig(cases=False, min_coverage=None)
    assert table_lines(nothing, None, None, None, None) == []
    everything = GateConfig(max_unexplained_flips=0.1, min_coverage=0.5, min_gold_precision=0.8, min_gold_recall=0.7)
    lines = table_lines(everything, 0.6, None, rate([Weighted(95, 1, True), Weighted(5, 1, False)]), None)
    assert [(line.measure, line.met) for line in lines] == [
        ("coverage of the table", True), ("unexplained flips", False), ("gold precision", True), ("gold recall", False),
    ]  # fmt: skip


def test_agreement_with_people_is_decided_on_a_bound_and_not_on_the_point() -> None:
    [line] = table_lines(
        GateConfig(min_coverage=None, min_gold_recall=0.95), None, None, None, rate([Weighted(5, 1, True)])
    )
    assert not line.met and line.value == pytest.approx(0.05 ** (1 / 5))
    assert "1 observed; cannot be shown: 5 positives, 59 are needed (54 more, all of them flagged)" in str(line)
    config = GateConfig(min_coverage=None, min_gold_recall=0.95)
    assert table_lines(config, None, None, None, rate([Weighted(59, 1, True)]))[0].met


def test_noise_is_subtracted_from_unexplained_flips() -> None:
    pairs = [Pair(WEAPON, SAFE, 10), Pair(SAFE, SPAM, 5), Pair(SAFE, SAFE, 85)]
    changes = RuleChanges(changed=("M2",))
    alone = compare_pairs(("a", "b"), pairs, changes=changes)
    assert unexplained(alone) == (0.05, "noise was not measured, so all of them count")
    with_noise = compare_pairs(("a", "b"), pairs, [Pair(SAFE, SAFE, 98), Pair(SAFE, SPAM, 2)], changes=changes)
    value, note = unexplained(with_noise)
    assert value == pytest.approx(0.03) and note == "after subtracting the noise of 0.02"
    assert unexplained(None)[0] is None


def test_a_policy_without_cases_does_not_pass_them() -> None:
    [line] = cases_lines(None)
    assert not line.met and "relabel.gate.cases=false" in str(line)
