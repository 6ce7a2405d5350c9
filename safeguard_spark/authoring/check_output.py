"""Check output: a report for people (as a compiler prints it), as JSON, and as GitHub annotations."""

import json
import unicodedata

from safeguard_spark.authoring.diagnostics import Diagnostic, Report

WIDTH = 100  # of an excerpt, in columns


def report_text(report: Report) -> str:
    """For a terminal: file:line:column, the line, a caret and a hint per problem; then a summary."""
    parts = [diagnostic_text(diagnostic) for diagnostic in report.diagnostics]
    return "\n".join([*parts, report_summary(report), ""])


def report_summary(report: Report) -> str:
    """One line: how many policies, errors and warnings."""
    checked = f"{report.policies} {'policy' if report.policies == 1 else 'policies'} checked"
    return f"{checked}: {problem_counts(report)}."


def problem_counts(report: Report) -> str:
    """How many errors and warnings, in words."""
    counts = " and ".join(
        f"{count} {word}{'' if count == 1 else 's'}"
        for count, word in ((report.errors, "error"), (report.warnings, "warning"))
        if count
    )
    return counts or "no problems"


def report_json(report: Report) -> str:
    """One JSON object: `policies`, `errors`, `warnings`, `diagnostics` (file, line, column, length, level, …)."""
    problems = [
        {"file": d.file, **d.span._asdict(), "level": d.level, "code": d.code, "message": d.message, "hint": d.hint}
        for d in report.diagnostics
    ]
    counts = {"policies": report.policies, "errors": report.errors, "warnings": report.warnings}
    return json.dumps({**counts, "diagnostics": problems}, indent=2, ensure_ascii=False) + "\n"


def report_github(report: Report) -> str:
    """GitHub workflow commands, one per diagnostic, then the summary."""
    lines = []
    for d in report.diagnostics:
        line, column, length = d.span
        place = f"file={_property(d.file)},line={line},col={column},endColumn={column + length}"
        text = f"{d.message} ({d.hint})" if d.hint else d.message
        lines.append(f"::{d.level.value} {place},title={d.code}::{_escape(text)}")
    return "\n".join([*lines, report_summary(report), ""])


REPORT_FORMATS = {"text": report_text, "json": report_json, "github": report_github}


def diagnostic_text(d: Diagnostic) -> str:
    """One diagnostic for a terminal: file:line:column and the problem, the line, a caret, a hint if there is one."""
    number = str(d.span.line)
    margin = " " * len(number)
    excerpt, column = _crop(d.excerpt, d.span.column)
    head = f"{d.file}:{d.span.line}:{d.span.column}: {d.level.value}[{d.code}]: {d.message}"
    before, marked = excerpt[: column - 1], excerpt[column - 1 : column - 1 + d.span.length]
    caret = " " * _columns(before) + "^" * max(_columns(marked), 1)
    lines = [head, f"{number} | {excerpt}".rstrip(), f"{margin} | {caret}"]
    if d.hint:
        lines.append(f"{margin} = {d.hint}")
    return "\n".join([*lines, ""])


def _crop(line: str, column: int) -> tuple[str, int]:
    """A long line cut around the column; tabs become one space, so that the caret stays under the word."""
    line = "".join(" " if unicodedata.category(c) == "Cc" else c for c in line)
    if len(line) <= WIDTH:
        return line, column
    start = min(max(column - 1 - WIDTH // 3, 0), len(line) - WIDTH)
    head, tail = "…" if start else "", "…" if start + WIDTH < len(line) else ""
    return head + line[start + len(head) : start + WIDTH - len(tail)] + tail, column - start


def _columns(text: str) -> int:
    """Terminal columns: East Asian wide characters take two, combining marks none."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _escape(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escape(text).replace(":", "%3A").replace(",", "%2C")
