"""Check output: a report for people (as a compiler prints it), as JSON, and as GitHub annotations."""

import json
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from safeguard_spark.authoring.diagnostics import Diagnostic, Level, Report, by_cause
from safeguard_spark.terminal import counted, one_line

WIDTH = 100  # of an excerpt, in columns
COLORS = {Level.error: "\x1b[1;31m", Level.warning: "\x1b[1;33m"}  # bold red, bold yellow
PLACES = 10  # at most so many lines are named where one mistake has many consequences


def report_text(report: Report, max_shown: int = 0, *, color: bool = False) -> str:
    """For a terminal: file:line:column, the line, a caret and a hint per problem; then a summary.

    Problems of one cause are shown once, with the lines of the others. `max_shown`: problems at most, and then errors
    first; 0 shows all.
    `color`: for a terminal that shows colors.
    """
    groups = by_cause(report.diagnostics)
    if 0 < max_shown < len(groups):  # then no error is hidden behind warnings
        groups = sorted(groups, key=lambda group: group.first.level is not Level.error)
    shown = groups[:max_shown] if max_shown else groups
    parts = [diagnostic_text(first, _others_words(others), color=color) for first, others in shown]
    if len(shown) < len(groups):
        parts.append(
            counted(len(groups) - len(shown), "more problem is", "more problems are")
            + " not shown; --max-errors 0 shows all.\n"
        )
    return "\n".join([*parts, report_summary(report), ""])


def _others_words(others: Sequence[Diagnostic]) -> str:
    """Where the other problems of one cause are: `the same in 3 more places: cases.yaml 4, 9; policy.md 30`."""
    if not others:
        return ""
    lines: dict[str, list[int]] = {}
    for other in others[:PLACES]:
        lines.setdefault(PurePath(other.file).name, []).append(other.span.line)
    places = "; ".join(f"{file} {', '.join(map(str, dict.fromkeys(numbers)))}" for file, numbers in lines.items())
    more = f" and {len(others) - PLACES:,} more" if len(others) > PLACES else ""
    noun = "place" if len(others) == 1 else "places"
    return f"the same in {len(others):,} more {noun}, by line: {places}{more}"


def report_summary(report: Report) -> str:
    """One line: how many policies, errors and warnings."""
    checked = f"{report.policies} {'policy' if report.policies == 1 else 'policies'} checked"
    counts = Counter(name for name in report.languages if name not in ("", "English"))
    if report.policies in counts.values():
        checked += f" (in {next(iter(counts))})"
    elif counts:
        checked += f" ({', '.join(f'{count} in {name}' for name, count in sorted(counts.items()))})"
    summary = f"{checked}: {problem_counts(report)}."
    if unknown := report.languages.count(""):
        what = "its language" if report.policies == 1 else f"the language of {unknown} of them"
        summary += f"\nThere are no words of {what}: sections, examples and vague words were not checked."
    return summary


def problem_counts(report: Report) -> str:
    """How many errors and warnings, in words."""
    counts = " and ".join(
        f"{count} {word}{'' if count == 1 else 's'}"
        for count, word in ((report.errors, "error"), (report.warnings, "warning"))
        if count
    )
    return counts or "no problems"


def report_value(report: Report) -> dict[str, Any]:
    """For programs: `policies`, `errors`, `warnings`, `diagnostics` (file, line, column, length, level, …)."""
    problems = [
        {"file": d.file, **d.span._asdict(), "level": d.level, "code": d.code, "message": d.message, "hint": d.hint}
        for d in report.diagnostics
    ]
    counts = {"policies": report.policies, "errors": report.errors, "warnings": report.warnings}
    return {**counts, "diagnostics": problems}


def report_json(report: Report) -> str:
    """The value for programs as indented JSON."""
    return json.dumps(report_value(report), indent=2, ensure_ascii=False) + "\n"


def report_github(report: Report) -> str:
    """GitHub workflow commands, one per problem, then the summary. Problems of one cause are one."""
    lines = []
    for d, others in by_cause(report.diagnostics):
        line, column, length = d.span
        place = f"file={_property(d.file)},line={line},col={column},endColumn={column + length}"
        hints = "; ".join(hint for hint in (d.hint, _others_words(others)) if hint)
        text = f"{d.message} ({hints})" if hints else d.message
        lines.append(f"::{d.level.value} {place},title={d.code}::{_escape(text)}")
    return "\n".join([*lines, report_summary(report), ""])


def diagnostic_text(d: Diagnostic, others: str = "", *, color: bool = False) -> str:
    """One diagnostic for a terminal: file:line:column and the problem, the line, a caret, a hint if there is one.

    `others`: where else the same problem is, in words.
    """
    number = str(d.span.line)
    margin = " " * len(number)
    excerpt, column = _crop(d.excerpt, d.span.column)
    begin, end = (COLORS[d.level], "\x1b[0m") if color else ("", "")
    head = f"{d.file}:{d.span.line}:{d.span.column}: {begin}{d.level.value}[{d.code}]{end}: {one_line(d.message)}"
    before, marked = excerpt[: column - 1], excerpt[column - 1 : column - 1 + d.span.length]
    caret = " " * _columns(before) + "^" * max(_columns(marked), 1)
    lines = [head, f"{number} | {excerpt}".rstrip(), f"{margin} | {begin}{caret}{end}"]
    lines += [f"{margin} = {one_line(hint)}" for hint in (d.hint, others) if hint]
    return "\n".join([*lines, ""])


def _crop(line: str, column: int) -> tuple[str, int]:
    """A long line cut around the column; tabs and what is invisible become one space, so that the caret stays under the
    word."""
    line = "".join(c if c.isprintable() else " " for c in line)
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
