"""Diagnostics: the problems that `safeguard check` reports, as values. `check_output` renders them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

from safeguard_spark.errors import ExitCode
from safeguard_spark.policy.characters import look_alike_hint
from safeguard_spark.policy.positions import Span
from safeguard_spark.suggest import closest_match


class Level(StrEnum):
    """An error makes labels wrong or unreadable; a warning makes labels worse or the policy harder to trust."""

    error = "error"
    warning = "warning"


class Check(NamedTuple):
    """One kind of problem."""

    level: Level
    summary: str


_E, _W = Level.error, Level.warning
CHECKS: dict[str, Check] = {
    "unreadable": Check(_E, "The file cannot be read: not UTF-8, no front matter, not YAML."),
    "unknown-key": Check(_E, "A key that is not part of the format."),
    "missing-key": Check(_E, "A required key is missing."),
    "duplicate-key": Check(_E, "A duplicate key: YAML would silently keep the last one."),
    "bad-value": Check(_E, "A value of the wrong type or outside its limits."),
    "merge-conflict": Check(_E, "The marks of a merge conflict are in the file."),
    "cut-text": Check(_W, "A text without quotes ends at ` #`: YAML takes the rest of the line for a comment."),
    "look-alike": Check(_E, "A label, or a word of the text like one, has an invisible or look-alike character."),
    "ambiguous-name": Check(_E, "Two names are one in an answer: a-b and A_B, or a rule id and another category."),
    "wrong-folder": Check(_E, "Name and version differ from the folders that contain the file."),
    "published-changed": Check(_E, "The text, rules or output form of a published version changed."),
    "labeler-changed": Check(_W, "The `labeler` of a published version changed: labels are made again."),
    "lock-behind": Check(_W, "Metadata of a published version changed, such as its owner; this changes no label."),
    "no-rules": Check(_W, "The output form names rules, but there are none: no violation has a reason."),
    "duplicate-rule": Check(_E, "Two rules have the same id."),
    "undefined-rule": Check(_E, "The text names a rule id that the rules do not define."),
    "undefined-category": Check(_E, "A table or an answer in the text uses a label that the rules do not define."),
    "untold-rule": Check(_W, "The text never mentions a rule id or category, so the model cannot answer it."),
    "no-output-format": Check(_E, "The text does not state the answer format."),
    "incomplete-output-format": Check(_W, "The text does not mention all keys of the answer that `output` requires."),
    "output-format-once": Check(_W, "The answer format is stated only once; near the top and at the end is best."),
    "missing-section": Check(_W, "No section of instructions, definitions, criteria or examples."),
    "no-examples": Check(_W, "The text has no examples."),
    "one-sided-examples": Check(_W, "The text's examples show only violations, or only safe content."),
    "vague-word": Check(_W, "A vague word, such as `generally`, leaves the decision to the model."),
    "todo": Check(_W, "A placeholder is not filled in."),
    "long": Check(_W, "More than 1,000 tokens: longer policies are slower and followed less closely."),
    "too-long": Check(_E, "More than 10,000 tokens: the model is not reliable with such a policy."),
    "control-token": Check(_E, "A control token of the prompt format, such as <|start|>."),
    "template-braces": Check(_E, "An unfilled template, {{…}} or {%…%}, which the registry would interpret."),
    "no-cases": Check(_W, "No cases.yaml next to the policy: nothing tests it."),
    "one-sided-cases": Check(_W, "The cases show only violations, or only safe content."),
    "untested-rule": Check(_W, "No case tests a rule."),
    "duplicate-case-id": Check(_E, "Two cases have the same id."),
    "duplicate-case": Check(_W, "Two cases have the same content."),
    "contradicting-cases": Check(_E, "Two cases of the same content expect different verdicts."),
    "inconsistent-case": Check(_E, "A case contradicts itself: safe with rules, or rules of another category."),
    "unknown-case-rule": Check(_E, "A case names a rule or category that the policy does not define."),
    "case-without-rule": Check(_W, "A violating case does not say which rule it violates."),
    "unexplained-case": Check(_W, "A case does not say why."),
}  # fmt: skip


@dataclass(frozen=True)
class Diagnostic:
    """One problem at one position. `excerpt` is its line."""

    code: str
    message: str
    file: str
    span: Span
    hint: str = ""
    excerpt: str = ""
    cause: str = ""  # diagnostics of one cause are shown as one

    @property
    def level(self) -> Level:
        """Error or warning; the code decides."""
        return CHECKS[self.code].level


@dataclass(frozen=True)
class SourceFile:
    """A file as diagnostics show it: its display name and its text."""

    file: str
    text: str = field(repr=False)

    @cached_property
    def lines(self) -> list[str]:
        """Lines without line ends. Only \\n ends a line, as in an editor."""
        return [line.rstrip("\r") for line in self.text.split("\n")]

    def diagnose(self, code: str, span: Span, message: str, hint: str = "", cause: str = "") -> Diagnostic:
        """A diagnostic at a position in this file. `cause`: a name, if one mistake with it has many consequences."""
        excerpt = self.lines[span.line - 1] if 0 < span.line <= len(self.lines) else ""
        return Diagnostic(code, message, self.file, span, hint, excerpt, cause)


@dataclass(frozen=True)
class Report:
    """The result of a check: every problem of every policy.

    `languages`: the names of those that the texts were checked in, empty where there is no list of words.
    """

    policies: int
    diagnostics: tuple[Diagnostic, ...]
    languages: tuple[str, ...] = ()

    @property
    def errors(self) -> int:
        """How many errors."""
        return sum(d.level is Level.error for d in self.diagnostics)

    @property
    def warnings(self) -> int:
        """How many warnings."""
        return len(self.diagnostics) - self.errors

    def exit_code(self, strict: bool = False) -> ExitCode:
        """Complete, or policy if there are errors; with `strict` also if there are warnings."""
        return ExitCode.policy if (self.diagnostics if strict else self.errors) else ExitCode.complete


def in_order(diagnostics: Iterable[Diagnostic]) -> Iterator[Diagnostic]:
    """Without duplicates, sorted by file and position."""
    return iter(sorted(dict.fromkeys(diagnostics), key=lambda d: (d.file, d.span, d.code)))


class Group(NamedTuple):
    """Diagnostics of one cause: the first, and its consequences elsewhere."""

    first: Diagnostic
    others: tuple[Diagnostic, ...]


def by_cause(diagnostics: Iterable[Diagnostic]) -> list[Group]:
    """Diagnostics in groups of one level and cause, in the order of the first of each."""
    groups: dict[object, list[Diagnostic]] = {}
    for diagnostic in diagnostics:
        key = (diagnostic.level, diagnostic.cause) if diagnostic.cause else diagnostic
        groups.setdefault(key, []).append(diagnostic)
    return [Group(first, tuple(others)) for first, *others in groups.values()]


def nearest(name: str, defined: Iterable[str]) -> str:
    """A hint for an undefined name: the one that looks the same, the most similar one, or all of them."""
    names = sorted(set(defined))
    if hint := look_alike_hint(name, names):
        return hint
    # Ids as short as SP1 are all alike: another one is no suggestion.
    match = closest_match(name, names) if len(name) > 3 else None
    return f"did you mean {match}?" if match else f"defined: {', '.join(names) or 'none'}"
