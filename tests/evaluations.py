"""An evaluation as a value, for the tests of its forms: two policies, two efforts, slices, names and a gate."""

from datetime import UTC, datetime

from safeguard_spark.evaluation.cohort import Cohort
from safeguard_spark.evaluation.differences import PairCount, paired_differences
from safeguard_spark.evaluation.measures import Count, ItemCount, Unreadable, exact_match, measure
from safeguard_spark.evaluation.names import CategoryCount, NameCount, name_metrics
from safeguard_spark.evaluation.result import CheckResult, Evaluated, Evaluation, SetResult, SideResult
from safeguard_spark.evaluation.set_gate import SetCounts, decide
from safeguard_spark.policy.document import SetGate

SET = "golden@1"
COUNTS = [
    Count("market", slice_, expected, predicted, contents)
    for slice_, share in (("*", 2), ("language=en", 1), ("language=<de>", 1))
    for expected, predicted, contents in (
        (True, True, 40 * share), (True, False, 5 * share), (True, None, share), (False, False, 90 * share),
        (False, True, 4 * share), (False, None, share), (None, True, 3 * share),
    )
]  # fmt: skip
ITEMS = [ItemCount("*", True, False, 260), ItemCount("*", False, True, 22)]
NAMES = [
    NameCount("market", "rule:M1", True, True, True, 50),
    NameCount("market", "rule:M1", True, True, False, 4),
    NameCount("market", "rule:M1", False, False, True, 6),
]
CATEGORIES = [
    CategoryCount("market", "counterfeit", "counterfeit", 50),
    CategoryCount("market", "counterfeit", "safe", 4),
    CategoryCount("market", "safe", "safe", 180),
    CategoryCount("market", "unknown", "unreadable", 2),
]


def side(effort: str, tokens: float, *, pairs: bool) -> SideResult:
    """One side of the evaluation."""
    counts = [PairCount("market", "*", True, True, False, 7), PairCount("market", "*", False, False, False, 200)]
    return SideResult(
        name=f"market@1.0.0 by model/{effort}",
        evaluated=(Evaluated("market@1.0.0", "0" * 64, f"model/{effort}", effort * 3, tokens, 40.0),),
        metrics=(*exact_match(SET, ITEMS), *measure(SET, COUNTS)),
        names=tuple(name_metrics(SET, NAMES)),
        categories=tuple(CATEGORIES),
        differences=tuple(paired_differences(SET, counts)) if pairs else (),
    )


def two_sides() -> Evaluation:
    """Low effort, compared with high effort; one line of the gate is met, and one cannot be shown."""
    cohort = Cohort(
        set=SET, sha256=None, split=None, filter=None, mapping={"market": "M"}, metric="*", unreadable=Unreadable.wrong
    )
    sides = (side("low", 500_000, pairs=False), side("high", 900_000, pairs=True))
    check = CheckResult(SET, "market", "off-topic", 0.0, 0.0, 0.02, 200, "0 of 200 flagged")
    gates = [SetGate(set="golden", min_recall=0.5), SetGate(set="golden", min_precision=0.99)]
    return Evaluation(
        evaluation_id="e20260503T091500-1f0c9a3e",
        evaluated_at=datetime(2026, 5, 3, 9, 15, tzinfo=UTC),
        sets=(SetResult(SET, "d" * 64, cohort, 288, sides, {}, ("a note <b>",), (check,)),),
        gate=tuple(decide(gates, {SET: SetCounts(COUNTS, ITEMS)})),
        calls=576,
        run_ids=("r1", "r2"),
    )
