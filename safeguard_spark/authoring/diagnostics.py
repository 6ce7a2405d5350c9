"""Diagnostics: what `safeguard check` has to say, as values. Rendering is in `check_output`."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

from safeguard_spark.errors import ExitCode
from safeguard_spark.policy.positions import Span
from safeguard_spark.suggest import closest_match


class Level(StrEnum):
    """An error makes labels wrong or unreadable; a warning makes them worse, or the policy harder to trust."""

    error = "error"
    warning = "warning"


class Check(NamedTuple):
    """One thing that is looked for."""

    level: Level
    summary: str


_E, _W = Level.error, Level.warning
CHECKS: dict[str, Check] = {
    "unreadable": Check(_E, "The file cannot be read: not UTF-8, no front matter, not YAML."),
    "unknown-key": Check(_E, "A key that the format does not have."),
    "missing-key": Check(_E, "A key that the format needs."),
    "duplicate-key": Check(_E, "A key given twice; YAML would silently keep the last."),
    "bad-value": Check(_E, "A value of the wrong kind."),
    "wrong-folder": Check(_E, "Name and version differ from the folders the file lies in."),
    "published-changed": Check(_E, "A published version whose text, rules or output form changed."),
    "lock-behind": Check(_W, "A published version whose owner, description or the like changed; no label can."),
    "no-rules": Check(_W, "No rules in an output form that names them: every violation is anonymous."),
    "duplicate-rule": Check(_E, "A rule id defined twice."),
    "undefined-rule": Check(_E, "The text names a rule id that the rules do not define."),
    "undefined-category": Check(_E, "A table or an answer in the text uses a label that the rules do not define."),
    "untold-rule": Check(_W, "A rule id or category the text never mentions, so the model cannot name it."),
    "no-output-format": Check(_E, "The text never says in what form to answer."),
    "incomplete-output-format": Check(_W, "The text leaves out keys of the answer that `output` promises."),
    "output-format-once": Check(_W, "The answer's form is stated only once; near the top and at the end is best."),
    "missing-section": Check(_W, "No section of instructions, definitions, criteria or examples."),
    "no-examples": Check(_W, "The text has no examples."),
    "one-sided-examples": Check(_W, "The text's examples show only violations, or only safe content."),
    "vague-word": Check(_W, "A word that leaves the decision open, such as `generally`."),
    "todo": Check(_W, "A place left to be filled in."),
    "long": Check(_W, "More than 1,000 tokens: longer policies are slower and followed less closely."),
    "too-long": Check(_E, "More than 10,000 tokens: the model is not reliable beyond."),
    "control-token": Check(_E, "A control token of the prompt format, such as <|start|>."),
    "template-braces": Check(_E, "{{…}} or {%…%}: a template left unfilled, which the registry would interpret."),
    "no-cases": Check(_W, "No cases.yaml beside the policy: nothing tests it."),
    "one-sided-cases": Check(_W, "Only violations, or only safe content, among the cases."),
    "untested-rule": Check(_W, "A rule that no case tests."),
    "duplicate-case-id": Check(_E, "A case id used twice."),
    "duplicate-case": Check(_W, "The same content in two cases."),
    "contradicting-cases": Check(_E, "The same content with different expectations."),
    "inconsistent-case": Check(_E, "A case at odds with itself: safe but with rules, or rules of another category."),
    "unknown-case-rule": Check(_E, "A case that names a rule or category the policy does not define."),
    "case-without-rule": Check(_W, "A violating case that does not say which rule."),
    "unexplained-case": Check(_W, "A case that does not say why."),
}  # fmt: skip


@dataclass(frozen=True)
class Diagnostic:
    """One problem at one place. `excerpt` is the line it stands in."""

    code: str
    message: str
    file: str
    span: Span
    hint: str = ""
    excerpt: str = ""

    @property
    def level(self) -> Level:
        """Error or warning; the code decides."""
        return CHECKS[self.code].level


@dataclass(frozen=True)
class SourceFile:
    """A file as diagnostics show it: the name to show, and its text."""

    file: str
    text: str = field(repr=False)

    @cached_property
    def lines(self) -> list[str]:
        """Lines without their ends. Only \\n ends a line, as in an editor."""
        return [line.rstrip("\r") for line in self.text.split("\n")]

    def diagnose(self, code: str, span: Span, message: str, hint: str = "") -> Diagnostic:
        """A diagnostic at a place in this file."""
        excerpt = self.lines[span.line - 1] if 0 < span.line <= len(self.lines) else ""
        return Diagnostic(code, message, self.file, span, hint, excerpt)


@dataclass(frozen=True)
class Report:
    """What a check found: every problem of every policy."""

    policies: int
    diagnostics: tuple[Diagnostic, ...]

    @property
    def errors(self) -> int:
        """How many errors."""
        return sum(d.level is Level.error for d in self.diagnostics)

    @property
    def warnings(self) -> int:
        """How many warnings."""
        return len(self.diagnostics) - self.errors

    def passed(self, strict: bool = False) -> bool:
        """Whether nothing stands in the way; `strict` counts warnings too."""
        return not (self.diagnostics if strict else self.errors)

    def exit_code(self, strict: bool = False) -> ExitCode:
        """Complete, or policy if the check did not pass."""
        return ExitCode.complete if self.passed(strict) else ExitCode.policy


def in_order(diagnostics: Iterable[Diagnostic]) -> Iterator[Diagnostic]:
    """By file and place, each once."""
    return iter(sorted(dict.fromkeys(diagnostics), key=lambda d: (d.file, d.span, d.code)))


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for a name that is not known: the one most like it, or all there are."""
    names = sorted(set(known))
    # Ids as short as SP1 are all alike: another one is no suggestion.
    match = closest_match(name, names) if len(name) > 3 else None
    return f"did you mean {match}?" if match else f"defined: {', '.join(names) or 'none'}"
