"""The gates of a policy decide the exit code of `safeguard verify`; what cannot be measured or read never helps."""

from pathlib import Path

import pytest

from tests.unit.commands import Safeguard
from tests.unit.samples import POLICY, edited, write_policy

pytestmark = pytest.mark.unit
SCRIPTED = ("--set", "engine.kind=scripted")
ALL_RIGHT = ("--set", "engine.args.words={replica: M1, truck: M2}")


def test_a_policys_gate_decides_the_exit_code(safeguard: Safeguard) -> None:
    half = edited(POLICY, ("labeler:", "gate: {min_recall: 0.5, max_false_positive_rate: 0}\nlabeler:"))
    write_policy(Path("policies"), half)
    ran = safeguard("verify", "market", *SCRIPTED, "--set", "engine.args.words={replica: M1}")
    assert ran.code == 0
    assert "gate min_recall 0.5: 0.500 met" in ran.out
    ran = safeguard("verify", "market", *SCRIPTED, "--set", "engine.args.words={replica: M1, box: M2}")
    assert ran.code == 7
    assert "gate max_false_positive_rate 0: 1.000 NOT MET" in ran.out


def test_a_bound_that_cannot_be_measured_is_not_met(safeguard: Safeguard) -> None:
    write_policy(Path("policies"), edited(POLICY, ("labeler:", "gate: {min_precision: 0}\nlabeler:")))
    ran = safeguard("verify", "market", *SCRIPTED)
    assert ran.code == 7
    assert "gate min_precision 0: not measurable NOT MET" in ran.out


BOUNDS = ("min_precision: 0", "min_recall: 0", "max_false_positive_rate: 1", "max_unreadable_rate: 1")


@pytest.mark.parametrize("bound", [*BOUNDS, "min_rule_accuracy: 0"])
@pytest.mark.parametrize("kind", ["refuse", "garbage", "truncate"])
def test_no_gate_is_met_if_no_answer_could_be_read(safeguard: Safeguard, bound: str, kind: str) -> None:
    write_policy(Path("policies"), edited(POLICY, ("labeler:", f"gate: {{{bound}}}\nlabeler:")))
    misbehave = f"engine.args.misbehave={{replica: {kind}, phones: {kind}, box: {kind}}}"
    ran = safeguard("verify", "market", *SCRIPTED, "--set", misbehave)
    assert ran.code == 7
    assert "not measurable NOT MET (no answer could be read)" in ran.out
    assert "0 of 3 cases as expected (no answer could be read" in ran.out.splitlines()[-1]


@pytest.mark.parametrize(
    ("bound", "shown"),
    [
        ("max_false_positive_rate: 0.4", "1.000 NOT MET (1 unreadable answer on safe content counted as wrong)"),
        ("min_precision: 0.7", "0.667 NOT MET (1 unreadable answer on safe content counted as wrong)"),
        ("max_unreadable_rate: 0.2", "0.333 NOT MET"),
        ("min_recall: 1", "1.000 met"),
    ],
)
def test_an_unreadable_answer_on_safe_content_never_helps_a_bound(safeguard: Safeguard, bound: str, shown: str) -> None:
    write_policy(Path("policies"), edited(POLICY, ("labeler:", f"gate: {{{bound}}}\nlabeler:")))
    script = "engine.args={words: {replica: M1, truck: M2}, misbehave: {box: garbage}}"
    ran = safeguard("verify", "market", *SCRIPTED, "--set", script)
    assert f"gate {bound.replace(':', '')}: {shown}\n" in ran.out
    assert ran.code == (7 if "NOT MET" in shown else 0)


def test_a_gate_on_the_right_rule_counts_violations_of_another_rule_as_wrong(safeguard: Safeguard) -> None:
    write_policy(Path("policies"), edited(POLICY, ("labeler:", "gate: {min_rule_accuracy: 0.9}\nlabeler:")))
    words = "engine.args.words={replica: M2, truck: M2}"
    ran = safeguard("verify", "market", *SCRIPTED, "--set", words)
    assert "gate min_rule_accuracy 0.9: 0.500 NOT MET" in ran.out and "recall 1.000" in ran.out
    assert ran.code == 7
    assert safeguard("verify", "market", *SCRIPTED, *ALL_RIGHT).code == 0
