"""Verify: runs a policy's cases through an engine and counts the results rule by rule."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from safeguard_spark.authoring.cases import Case, cases_path, load_cases, verdict_words
from safeguard_spark.authoring.check import check_file
from safeguard_spark.authoring.diagnostics import Level, Report
from safeguard_spark.authoring.requirement import Bound, Requirement
from safeguard_spark.errors import ExitCode, PolicyError
from safeguard_spark.labelling.engine import Engine
from safeguard_spark.labelling.labeler import Labeler
from safeguard_spark.labelling.rows import Labelled, LabelSpec, Row, label_rows
from safeguard_spark.labelling.verdict import Outcome, Verdict
from safeguard_spark.policy.document import REVIEW, Output, Policy
from safeguard_spark.policy.layout import misnamed_cases
from safeguard_spark.terminal import aligned, as_lines, counted

FIRST_ANSWERS = 5  # as in the label job, but of cases, which are few
SAFE = "safe"  # the report's line for cases that violate nothing
NO_RULE = "no rule"  # for violations of a policy without rules, or of none that is named


class Finding(StrEnum):
    """A verdict compared with what its case expects."""

    passed = "passed"
    missed = "missed"  # a violation called safe
    false_alarm = "false_alarm"  # safe content called a violation
    wrong_rule = "wrong_rule"  # a violation, but of another rule or category
    review = "review"  # left to a person, although the case says what it is
    unread = "unread"  # no verdict: refused, unparseable, truncated, …


_FAILURES = tuple(finding for finding in Finding if finding is not Finding.passed)


@dataclass(frozen=True)
class CaseResult:
    """One case and its verdict."""

    case: Case
    verdict: Verdict
    finding: Finding
    calls: int = 1  # of the model: 2 with a second look, 0 if none was needed
    retries: int = 0  # requests that were sent again


class RuleResult(NamedTuple):
    """The cases of one rule (or of `safe`), counted. A case of two rules counts for both."""

    rule: str
    cases: int
    passed: int
    findings: dict[Finding, int]


@dataclass(frozen=True)
class Verification:
    """The results of a policy's cases under one labeler."""

    policy: Policy
    labeler: Labeler
    results: tuple[CaseResult, ...]

    def count(self, *findings: Finding) -> int:
        """How many cases have one of these findings."""
        return sum(result.finding in findings for result in self.results)

    @property
    def failed(self) -> tuple[CaseResult, ...]:
        """The cases that did not pass."""
        return tuple(result for result in self.results if result.finding is not Finding.passed)

    @cached_property
    def rules(self) -> tuple[RuleResult, ...]:
        """Per rule in the policy's order, violations without a rule, cases for review, then the safe cases."""
        others = [name for name in (NO_RULE, REVIEW) if self._of(name)]
        return tuple(_rule_result(name, self._of(name)) for name in (*self.policy.rule_ids, *others, SAFE))

    def _of(self, name: str) -> list[CaseResult]:
        if name == SAFE:
            return [result for result in self.results if not result.case.violation]
        if name == REVIEW:
            return [result for result in self.results if result.case.violation == REVIEW]
        violating = [result for result in self.results if result.case.violation is True]
        if name == NO_RULE:
            return [result for result in violating if not result.case.rules]
        return [result for result in violating if name in result.case.rules]

    @cached_property
    def measures(self) -> dict[str, float | None]:
        """Precision, recall, false positive rate, unreadable rate, rule accuracy; None if the denominator is 0.

        An unread violation counts as missed; unread safe content does not count as a false alarm. Rule accuracy is the
        share of the violations that were called one of the rule (or category) that their case expects.
        """
        return self._measures(false_alarms=0)

    @property
    def undecided_safe(self) -> int:
        """How many safe cases have an answer that could not be read, or that leaves them to a person."""
        return sum(r.finding in (Finding.unread, Finding.review) and not r.case.violation for r in self.results)

    @property
    def second_looks(self) -> int:
        """How many cases needed a second call, because the first answer could not be read."""
        return sum(result.calls > 1 for result in self.results)

    @property
    def retries(self) -> int:
        """How often a request was sent again, because the engine was busy or its answer was lost."""
        return sum(result.retries for result in self.results)

    @property
    def engine_failures(self) -> tuple[CaseResult, ...]:
        """The cases that the engine did not answer."""
        return tuple(result for result in self.results if result.verdict.outcome is Outcome.engine_failed)

    @property
    def status(self) -> str:
        """`passed`, `failed`, or `engine_failed` if the engine did not answer every case."""
        return "engine_failed" if self.engine_failures else "passed" if self.succeeded else "failed"

    def _measures(self, *, false_alarms: int) -> dict[str, float | None]:
        """The measures with so many false alarms more than there were."""
        flagged = [r for r in self.results if r.verdict.violation]
        expected = [r for r in self.results if r.case.violation is True]
        safe = [r for r in self.results if r.case.violation is False]
        true_positives = sum(r.case.violation is True for r in flagged)
        false_positives = sum(r.case.violation is False for r in flagged) + false_alarms
        return {
            "precision": _share(true_positives, true_positives + false_positives),
            "recall": _share(true_positives, len(expected)),
            "false_positive_rate": _share(false_positives, len(safe)),
            "unreadable_rate": _share(self.count(Finding.unread), len(self.results)),
            "rule_accuracy": _share(sum(r.finding is Finding.passed for r in expected), len(expected)),
        }

    @cached_property
    def requirements(self) -> tuple[Requirement, ...]:
        """The policy's gate, line by line. A requirement on something that could not be measured is not met.

        An answer that decides nothing never helps: on safe content it counts as a false alarm, and if none could be
        read, nothing is met.
        """
        undecided, kind = self.undecided_safe, "undecided" if self.policy.review else "unreadable"
        values = self._measures(false_alarms=undecided)
        requirements = []
        for key, required in self.policy.gate.of_cases.items():
            bound, _, measure = key.partition("_")
            value, note = values[measure], ""
            if self.count(Finding.unread) == len(self.results):
                value, note = None, "no answer could be read"
            elif undecided and measure in ("precision", "false_positive_rate"):
                plural = "s" if undecided > 1 else ""
                note = f"{undecided} {kind} answer{plural} on safe content counted as wrong"
            requirements.append(Requirement(measure, Bound(bound), required, value, note))
        return tuple(requirements)

    @property
    def succeeded(self) -> bool:
        """Whether the gate is met; without a gate, whether every case passed."""
        return all(line.met for line in self.requirements) if self.requirements else not self.failed

    @property
    def exit_code(self) -> ExitCode:
        """Complete; engine if it failed on a case; gate if the policy did not succeed."""
        if self.engine_failures:
            return ExitCode.engine
        return ExitCode.complete if self.succeeded else ExitCode.gate


def verify_policy(
    policy: Policy,
    cases: Iterable[Case],
    labeler: Labeler,
    engine: Engine,
    progress: Callable[[int, int], None] | None = None,
) -> Verification:
    """Run cases through an engine; `progress` is called with how many are done, of how many.

    Raises EngineError, ConfigError and PolicyError as `label_rows` does.
    """
    cases = tuple(cases)
    rows = (Row(index, case.content) for index, case in enumerate(cases))
    labelled: dict[int, Labelled] = {}
    if progress:
        progress(0, len(cases))  # the first answer may take a while
    for done in label_rows(LabelSpec(policy, labeler), engine, rows, min(FIRST_ANSWERS, len(cases))):
        labelled[done.key] = done
        if progress:
            progress(len(labelled), len(cases))
    results = [
        CaseResult(
            case,
            labelled[i].verdict,
            judge(policy, case, labelled[i].verdict),
            len(labelled[i].calls),
            sum(call.retries for call in labelled[i].calls),
        )
        for i, case in enumerate(cases)
    ]
    return Verification(policy, labeler, tuple(results))


def verification_errors(files: Sequence[Path]) -> Report:
    """The errors of policies that would make their own cases fail, to be reported before a model is paid for."""
    errors = (d for file in files for d in check_file(file) if d.level is Level.error)
    return Report(len(files), tuple(errors))


def required_cases(file: Path) -> tuple[Case, ...]:
    """The cases of a policy file. Raises PolicyError if it has none: it must not count as verified."""
    path = cases_path(file)
    cases = load_cases(path) if path.is_file() else ()
    if not cases:
        if misnamed := misnamed_cases(file):
            raise PolicyError(f"{misnamed}, so there is nothing to verify.")
        what = "has no cases" if path.is_file() else "does not exist"
        raise PolicyError(f"{path} {what}, so there is nothing to verify. Add cases to it.")
    return cases


def overall_exit_code(verifications: Iterable[Verification]) -> ExitCode:
    """The exit code of several verifications: engine if any has it, else the highest."""
    codes = {verification.exit_code for verification in verifications}
    return ExitCode.engine if ExitCode.engine in codes else max(codes)


def judge(policy: Policy, case: Case, verdict: Verdict) -> Finding:
    """Compare a verdict with its case. The verdict must name every rule of the case, and may name more."""
    if verdict.outcome is Outcome.review:
        return Finding.passed if case.violation == REVIEW else Finding.review
    if verdict.violation is None:
        return Finding.unread
    if case.violation == REVIEW and verdict.violation:
        return Finding.wrong_rule
    if verdict.violation != case.violation:
        return Finding.missed if case.violation else Finding.false_alarm
    if not case.violation or policy.output is Output.binary:
        return Finding.passed
    if policy.output is Output.full and not set(case.rules) <= set(verdict.rule_ids):
        return Finding.wrong_rule
    category_of = {rule.id: rule.category for rule in policy.rules}
    expected = {case.expected_category} if case.expected_category else {category_of.get(rule) for rule in case.rules}
    return Finding.passed if not expected or verdict.category in expected else Finding.wrong_rule


def verification_json(verification: Verification) -> dict[str, Any]:
    """For programs: totals, measures, rules, gate and failed cases. No content."""
    v = verification
    return {
        "policy": v.policy.ref,
        "policy_hash": v.policy.policy_hash,
        "labeler": v.labeler.name,
        "labeler_hash": v.labeler.labeler_hash,
        "cases": len(v.results),
        "passed": v.count(Finding.passed),
        "succeeded": v.succeeded,
        "status": v.status,
        "message": _summary(v),
        "second_looks": v.second_looks,
        "retries": v.retries,
        "measures": v.measures,
        "gate": [
            {"name": f"{line.bound}_{line.measure}", "asked": line.required, "value": line.value, "met": line.met}
            for line in v.requirements
        ],
        "rules": [{"rule": r.rule, "cases": r.cases, "passed": r.passed, **r.findings} for r in v.rules],
        "failed": [
            {"case": r.case.id, "finding": r.finding, "outcome": r.verdict.outcome, "rules": r.verdict.rule_ids}
            for r in v.failed
        ],
    }


def verification_text(verification: Verification) -> str:
    """One line per rule, then every failed case with the expected and the actual verdict, the gate and a summary."""
    v = verification
    findings = [finding for finding in _FAILURES if finding is not Finding.review or v.policy.review]
    header = ("rule", "cases", "passed", *(finding.value.replace("_", " ") for finding in findings))
    rows = [header, *((r.rule, r.cases, r.passed, *(r.findings[finding] for finding in findings)) for r in v.rules)]
    cells = [[str(cell) if cell != 0 or number < 3 else "·" for number, cell in enumerate(row)] for row in rows]
    lines = [f"{v.policy.ref} by {v.labeler.name}", "", *(f"  {line}" for line in aligned(cells)), ""]
    for result in v.failed:
        lines.extend([*_failure(result), ""])
    lines.extend(_gate_line(requirement) for requirement in v.requirements)
    if v.requirements:
        lines += ["  These are point values on the cases. They show no rate of other contents: safeguard evaluate.", ""]
    return as_lines([*lines, _summary(v), ""])


def _failure(result: CaseResult) -> list[str]:
    case, verdict = result.case, result.verdict
    lines = [f"  {result.finding.value.replace('_', ' ')}: {case.id}"]
    lines.append(f"    expected  {case.expected}" + (f": {case.why}" if case.why else ""))
    reason = verdict.rationale or verdict.error
    lines.append(f"    actual    {verdict_text(verdict)}" + (f": {reason}" if reason else ""))
    return lines


def verdict_text(verdict: Verdict) -> str:
    """A verdict in a few words; its outcome if it decides nothing."""
    if verdict.outcome is Outcome.review:
        return verdict_words(REVIEW, (), None)
    if verdict.violation is None:
        return verdict.outcome.value
    return verdict_words(verdict.violation, verdict.rule_ids, verdict.category)


def _gate_line(line: Requirement) -> str:
    value = "not measurable" if line.value is None else f"{line.value:.3f}"
    note = f" ({line.note})" if line.note else ""
    return f"  gate {line.bound}_{line.measure} {line.required:g}: {value} {'met' if line.met else 'NOT MET'}{note}"


def _summary(v: Verification) -> str:
    passed, total = v.count(Finding.passed), len(v.results)
    cases = counted(total, "case", "cases")
    measures = [f"{name.replace('_', ' ')} {value:.3f}" for name, value in v.measures.items() if value is not None]
    if v.count(Finding.unread) == total:
        measures = ["no answer could be read"]  # so there is no rate of anything
    if failures := v.engine_failures:
        causes = ", ".join(dict.fromkeys(failure.verdict.error or "no answer" for failure in failures))
        return (
            f"{v.policy.ref} is not verified: the engine did not answer {len(failures)} of {cases} ({causes}). "
            f"As expected: {passed}. Verify again when it answers."
        )
    again = (("second looks", v.second_looks), ("retries", v.retries))
    noted = "".join(f"; {name}: {count}" for name, count in again if count)
    verdict = "passed" if v.succeeded else "failed"
    return f"{v.policy.ref} {verdict}: {passed} of {cases} as expected ({', '.join(measures)}{noted})."


def _rule_result(name: str, results: list[CaseResult]) -> RuleResult:
    findings = {finding: sum(r.finding is finding for r in results) for finding in Finding}
    return RuleResult(name, len(results), findings.pop(Finding.passed), findings)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
