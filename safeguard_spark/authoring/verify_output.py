"""Verify output: what the model said for each failed case, verifications side by side, and a page of them."""

from collections.abc import Sequence
from html import escape

from safeguard_spark.authoring.verify import CaseResult, Finding, Verification, verdict_text, verification_text
from safeguard_spark.terminal import aligned, as_lines, counted, one_line

MISSING = "-"  # a case that a side does not have
PAGE = """\
<!doctype html>
<html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>safeguard verify</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem; max-width: 75rem }}
table {{ border-collapse: collapse; margin: 1rem 0 }}
th, td {{ border: 1px solid #ccc; padding: .3rem .6rem; text-align: left }}
td.failed {{ background: #fde8e8 }} pre {{ background: #f5f5f5; padding: .6rem; white-space: pre-wrap }}
@media (prefers-color-scheme: dark) {{ td.failed {{ background: #5c2424 }} pre {{ background: #262626 }} }}
</style>
<h1>safeguard verify</h1>
{body}
</html>
"""


def answers_text(verification: Verification) -> str:
    """What the model said for each failed case: its reasoning and its whole answer."""
    lines = [f"Answers of {side_name(verification)} to the cases that failed", ""]
    for result in verification.failed:
        lines += [f"  {result.case.id} ({result.finding.value.replace('_', ' ')})", *_said(result), ""]
    return as_lines(lines) if verification.failed else ""


def _said(result: CaseResult) -> list[str]:
    parts = (("reasoning", result.verdict.reasoning), ("answer", result.verdict.raw_output))
    lines = list[str]()
    for name, text in parts:
        if text:
            lines += [f"    {name}:", *(f"      {line}" for line in text.strip().split("\n"))]
    return lines or [f"    no answer: {result.verdict.error or result.verdict.outcome.value}"]


def side_name(verification: Verification) -> str:
    """The policy and the labeler of a verification."""
    return f"{verification.policy.ref} by {verification.labeler.name}"


def side_by_side(sides: Sequence[Verification], names: Sequence[str]) -> str:
    """One row per case and one column per verification; `*` marks a decision that its case does not expect."""
    rows = [("case", "expected", *names), *_rows(sides)]
    passed = [f"{side.count(Finding.passed)} of {len(side.results)}" for side in sides]
    rows.append(("passed", "", *passed))
    lines = aligned(rows, range(len(rows[0])))
    differing = sum(len(set(row[2:])) > 1 for row in rows[1:-1])
    differ = "differs" if differing == 1 else "differ"
    note = f"{differing} of {counted(len(rows) - 2, 'case', 'cases')} {differ}; * is not what the case expects."
    return as_lines([*lines, "", note, ""])


def _rows(sides: Sequence[Verification]) -> list[tuple[str, ...]]:
    by_case = [{result.case.id: result for result in side.results} for side in sides]
    first: dict[str, CaseResult] = {id: result for results in reversed(by_case) for id, result in results.items()}
    ids = [result.case.id for side in sides for result in side.results]
    return [
        (id, first[id].case.expected, *(_cell(results.get(id)) for results in by_case)) for id in dict.fromkeys(ids)
    ]


def _cell(result: CaseResult | None) -> str:
    if result is None:
        return MISSING
    return verdict_text(result.verdict) + ("" if result.finding is Finding.passed else " *")


def verification_html(sides: Sequence[Verification], names: Sequence[str], *, with_answers: bool) -> str:
    """A page: the report of each verification, all of them side by side and, if wanted, the model's answers."""
    head = "".join(f"<th>{escape(name)}</th>" for name in ("case", "expected", *names))
    rows = "".join(
        "<tr>" + "".join(f"<td{_class(cell)}>{escape(one_line(cell))}</td>" for cell in row) + "</tr>\n"
        for row in _rows(sides)
    )
    reports = "".join(f"<pre>{escape(verification_text(side))}</pre>\n" for side in sides)
    answers = "".join(f"<pre>{escape(answers_text(side))}</pre>\n" for side in sides) if with_answers else ""
    return PAGE.format(body=f"<table><tr>{head}</tr>\n{rows}</table>\n{reports}{answers}")


def _class(cell: str) -> str:
    return ' class="failed"' if cell.endswith(" *") else ""
