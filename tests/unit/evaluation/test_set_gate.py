"""A gate on golden sets: met only if the exact bound shows it, and otherwise it says what is missing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from safeguard_spark.evaluation.intervals import lower_bound, upper_bound
from safeguard_spark.evaluation.measures import Count, ItemCount
from safeguard_spark.evaluation.set_gate import Decision, SetCounts, SetGateLine, decide
from safeguard_spark.policy.document import ALL, SetGate

pytestmark = pytest.mark.unit


def gate(**values: object) -> SetGate:
    return SetGate.model_validate({"set": "golden", **values})


def verdicts(tp: int = 0, fp: int = 0, fn: int = 0, tn: int = 0, lost: int = 0, policy: str = "hate") -> list[Count]:
    """Counts with `lost` unreadable answers of violations."""
    cells = ((True, True, tp), (False, True, fp), (True, False, fn), (False, False, tn), (True, None, lost))
    return [Count(policy, ALL, expected, predicted, n) for expected, predicted, n in cells if n]


def decided(config: SetGate, counts: list[Count], items: list[ItemCount] | None = None) -> SetGateLine:
    (line,) = decide([config], {"golden@1": SetCounts(counts, items or [])})
    return line


def test_five_of_five_do_not_show_a_recall() -> None:
    line = decided(gate(min_recall=0.95), verdicts(tp=5, tn=40))
    assert (line.decision, line.value, line.n, line.needed) == (Decision.not_shown, 1, 5, 59)
    sentence = "cannot be shown: 5 positives, 59 are needed (54 more, all of them flagged)"
    assert str(line) == f"golden@1 hate: recall 1, at least 0.95 is required: {sentence}"
    assert decided(gate(min_recall=0.95), verdicts(tp=59)).met
    assert not decided(gate(min_recall=0.95), verdicts(tp=58)).met
    assert decided(gate(min_recall=0.95), verdicts(tp=70, fn=1)).needed == 93


@pytest.mark.parametrize(
    ("config", "counts", "sentence"),
    [
        (gate(min_recall=0.9), verdicts(tp=395, fn=5),
         "recall 0.9875, at least 0.9 is required: met, at least 0.9739 with 95 % confidence (400 positives)"),
        (gate(min_recall=0.9), verdicts(tp=300, fn=100),
         "recall 0.75, at least 0.9 is required: refused, at most 0.7854 with 95 % confidence (400 positives)"),
        (gate(min_precision=0.9), verdicts(tp=10, fp=1),
         "precision 0.9091, at least 0.9 is required: cannot be shown: 11 flagged contents, 46 are needed "
         "(35 more, all of them violations)"),
        (gate(max_false_positive_rate=0.01), verdicts(tn=200),
         "false_positive_rate 0, at most 0.01 is required: cannot be shown: 200 negatives, 299 are needed "
         "(99 more, none of them flagged)"),
        (gate(max_false_positive_rate=0.01), verdicts(tn=299),
         "false_positive_rate 0, at most 0.01 is required: met, at most 0.009969 with 95 % confidence (299 negatives)"),
        (gate(max_false_positive_rate=0.01), verdicts(tn=90, fp=10),
         "false_positive_rate 0.1, at most 0.01 is required: refused, at least 0.05526 with 95 % confidence "
         "(100 negatives)"),
        (gate(max_unreadable_rate=0.1), verdicts(tp=20, lost=1),
         "unreadable_rate 0.04762, at most 0.1 is required: cannot be shown: 21 contents, 46 are needed "
         "(25 more, all of them readable)"),
        (gate(min_recall=1), verdicts(tp=20),
         "recall 1, at least 1 is required: cannot be shown by any number of positives"),
        (gate(min_recall=0.95, slice="kind=a=b"),
         [Count("hate", f"kind={n:02}", True, True, 9) for n in range(12)] + [Count("hate", "kin=d", True, True, 1)],
         "recall, at least 0.95 is required: cannot be shown: no content of golden@1 has kind=a=b; its values of kind "
         "are 00, 01, 02, 03, 04, 05, 06, 07, 08, 09, …"),
        (gate(min_recall=0.95, slice="kind=a"), verdicts(tp=900),
         "recall, at least 0.95 is required: cannot be shown: 0 positives, 59 are needed "
         "(59 more, all of them flagged)"),
    ],
)  # fmt: skip
def test_a_line_says_what_is_shown_or_what_is_missing(config: SetGate, counts: list[Count], sentence: str) -> None:
    where = "golden@1 hate" if config.slice == ALL else f"golden@1 hate {config.slice}"
    assert str(decided(config, counts)) == f"{where}: {sentence}"


def test_an_exact_match_is_over_contents() -> None:
    items = [ItemCount(ALL, True, False, 60), ItemCount(ALL, None, True, 9), ItemCount("kind=a", False, False, 5)]
    line = decided(gate(min_exact_match=0.95), [], items)
    assert line.met and (line.policy, line.n) == (ALL, 60)
    refused = decided(gate(min_exact_match=0.95), [], [*items, ItemCount(ALL, False, True, 20)])
    assert refused.decision is Decision.refused


def test_a_gate_is_for_every_policy_and_version_of_its_set_unless_it_names_one() -> None:
    counts = [*verdicts(tp=100), *verdicts(tp=10, policy="spam")]
    sets = {"golden@1": SetCounts(counts), "golden@2": SetCounts(counts), "other@1": SetCounts(counts)}

    def lines(config: SetGate) -> list[tuple[str, str, bool]]:
        return [(line.set, line.policy, line.met) for line in decide([config], sets)]

    assert lines(gate(min_recall=0.95)) == [
        ("golden@1", "hate", True), ("golden@1", "spam", False),
        ("golden@2", "hate", True), ("golden@2", "spam", False),
    ]  # fmt: skip
    assert lines(gate(min_recall=0.95, set="golden@2", policy="spam")) == [("golden@2", "spam", False)]


def test_a_set_or_policy_that_was_not_evaluated_is_not_met() -> None:
    recall, alarms = decide([gate(set="absent", min_recall=0.5, max_false_positive_rate=0.5)], {})
    assert not recall.met and not alarms.met and recall.proved is None
    assert str(recall) == "absent: recall, at least 0.5 is required: cannot be shown: the set was not evaluated"
    unmeasured = decided(gate(min_recall=0.5, policy="spam"), verdicts(tp=900))
    assert not unmeasured.met and unmeasured.n == 0


def test_a_gate_that_requires_nothing_or_an_unknown_bound_is_refused() -> None:
    with pytest.raises(ValidationError, match="requires nothing"):
        gate(policy="hate")
    for wrong in ({"min_recal": 0.9}, {"min_recall": 95}):
        with pytest.raises(ValidationError):
            gate(**wrong)


def test_a_line_has_the_keys_that_programs_read() -> None:
    line = decided(gate(min_recall=0.95), verdicts(tp=12))
    assert line.to_json() == {
        "set": "golden@1", "policy": "hate", "slice": "*", "metric": "recall", "bound": "min", "required": 0.95,
        "decision": "not_shown", "met": False, "value": 1.0, "proved": lower_bound(12, 12), "n": 12, "needed": 59,
        "sentence": str(line),
    }  # fmt: skip


cells = st.integers(0, 120)
bounds = st.floats(0.01, 0.99)


@given(cells, cells, bounds)
def test_a_decision_follows_the_exact_bounds(tp: int, fn: int, floor: float) -> None:
    line = decided(gate(min_recall=floor), verdicts(tp=tp, fn=fn, tn=1))
    n = tp + fn
    assert line.met == (n > 0 and lower_bound(tp, n) >= floor)
    assert (line.decision is Decision.refused) == (n > 0 and upper_bound(tp, n) < floor)
    if line.needed is not None:
        more = line.needed - n
        assert more > 0 and decided(gate(min_recall=floor), verdicts(tp=tp + more, fn=fn, tn=1)).met
        assert more == 1 or not decided(gate(min_recall=floor), verdicts(tp=tp + more - 1, fn=fn, tn=1)).met


@given(cells, cells, cells, cells, bounds, st.sampled_from(["tp", "fp", "fn", "tn"]))
def test_an_unreadable_answer_never_helps(tp: int, fp: int, fn: int, tn: int, bound: float, cell: str) -> None:
    before = {"tp": tp, "fp": fp, "fn": fn, "tn": tn}
    if not before[cell]:
        return
    readable = verdicts(**before)
    expected = cell in ("tp", "fn")
    unreadable = [*verdicts(**{**before, cell: before[cell] - 1}), Count("hate", ALL, expected, None, 1)]
    for key in ("min_recall", "min_precision", "max_false_positive_rate", "max_unreadable_rate"):
        old, new = decided(gate(**{key: bound}), readable), decided(gate(**{key: bound}), unreadable)
        assert new.met <= old.met
        if old.decision is Decision.refused:
            assert not new.met
