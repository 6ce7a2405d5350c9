"""Verify output: a verification for people."""

from safeguard_spark.authoring.cases import Case
from safeguard_spark.authoring.requirement import Requirement
from safeguard_spark.authoring.verify import CaseResult, Finding, Verification
from safeguard_spark.labelling.verdict import Verdict

COLUMNS = ("rule", "cases", "passed", *(f.value.replace("_", " ") for f in Finding if f is not Finding.passed))


def verification_text(verification: Verification) -> str:
    """One line per rule, then every failed case with the expected and the actual verdict, the gate and a summary."""
    v = verification
    rows = [COLUMNS, *((r.rule, r.cases, r.passed, *r.findings.values()) for r in v.rules)]
    cells = [[str(cell) if cell != 0 or number < 3 else "·" for number, cell in enumerate(row)] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(COLUMNS))]
    lines = [f"{v.policy.ref} by {v.labeler.name}", ""]
    for row in cells:
        first, *rest = row
        numbers = "  ".join(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))
        lines.append(f"  {first.ljust(widths[0])}  {numbers}")
    lines.append("")
    for result in v.failed:
        lines.extend([*_failure(result), ""])
    lines.extend(_gate_line(requirement) for requirement in v.requirements)
    if v.requirements:
        lines.append("")
    return "\n".join([*lines, _summary(v), ""])


def _failure(result: CaseResult) -> list[str]:
    case, verdict = result.case, result.verdict
    lines = [f"  {result.finding.value.replace('_', ' ')}: {case.id}"]
    lines.append(f"    expected  {_expected(case)}" + (f": {case.why}" if case.why else ""))
    reason = verdict.rationale or verdict.error
    lines.append(f"    actual    {_verdict(verdict)}" + (f": {reason}" if reason else ""))
    return lines


def _expected(case: Case) -> str:
    if not case.violation:
        return "safe"
    return "violation of " + (", ".join(case.rules) or case.expected_category or "the policy")


def _verdict(verdict: Verdict) -> str:
    if verdict.violation is None:
        return verdict.outcome.value
    if not verdict.violation:
        return "safe"
    return "violation of " + (", ".join(verdict.rule_ids) or verdict.category or "the policy")


def _gate_line(line: Requirement) -> str:
    value = "not measurable" if line.value is None else f"{line.value:.3f}"
    return f"  gate {line.bound}_{line.measure} {line.required:g}: {value} {'met' if line.met else 'NOT MET'}"


def _summary(v: Verification) -> str:
    passed, total = v.count(Finding.passed), len(v.results)
    measures = [f"{name.replace('_', ' ')} {value:.3f}" for name, value in v.measures.items() if value is not None]
    verdict = "passed" if v.succeeded else "failed"
    return f"{v.policy.ref} {verdict}: {passed} of {total} cases as expected ({', '.join(measures)})."
