"""Checks of a policy's text as prose: sections, examples, length, vague words, forbidden text."""

import re
from collections.abc import Iterator

from safeguard_spark.authoring.diagnostics import Diagnostic
from safeguard_spark.authoring.draft import Draft
from safeguard_spark.authoring.languages import ENGLISH, SECTIONS
from safeguard_spark.authoring.text import Line, mentions, without_quotes
from safeguard_spark.labelling.prompt import count_tokens
from safeguard_spark.policy.positions import Span

LONG, TOO_LONG = 1_000, 10_000  # tokens; the model's guide: 400-600 is best, about 10,000 still works
CONTROL = re.compile(r"<\|[A-Za-z0-9_]+\|>")
BRACES = re.compile(r"\{\{.*?(?:\}\}|$)|\{%.*?(?:%\}|$)")
TODO = re.compile(r"\b(?:TODO|FIXME|TBD)\b")
TODO_VALUE = re.compile(r"(?<=: )(?:TODO|FIXME|TBD)\b")
SAFE = r"\"?violation\"?\s*:\s*(?:0|false)|(?:->|→|=>|:|\|)\s*(?:0|none)\b"  # in any language
VIOLATES = r"\"?violation\"?\s*:\s*(?:1|true)|(?:->|→|=>|:|\|)\s*1\b"


def check_text(draft: Draft) -> Iterator[Diagnostic]:
    """Every problem of the text, except those of rules and the answer format."""
    if not draft.body.strip():
        if draft.body_line > 1:
            problem = "there is no text for the model after the front matter"
            yield draft.source.diagnose("bad-value", draft.in_body(1), problem)
        return
    yield from _forbidden(draft)
    yield from _todo(draft)
    yield from _length(draft)
    yield from _sections(draft)
    yield from _vague(draft)
    yield from _examples(draft)


def _forbidden(draft: Draft) -> Iterator[Diagnostic]:
    for code, pattern, what, hint in (
        ("control-token", CONTROL, "is a control token of the prompt format", "describe it in words"),
        ("template-braces", BRACES, "is an unfilled template", "fill it in; the model would read it as it is"),
    ):
        for line in draft.text.lines:
            for match in pattern.finditer(line.text):
                span = draft.in_body(line.number, match.start() + 1, len(match[0]))
                yield draft.source.diagnose(code, span, f"`{match[0][:60]}` {what}", hint)


def _todo(draft: Draft) -> Iterator[Diagnostic]:
    """Anywhere in the text; in front matter and cases only at the start of a value: a case may mention TODO."""
    places = [(draft.source, number, line) for number, line in enumerate(draft.source.lines, 1)]
    if draft.cases is not None:
        places += [(draft.cases.source, number, line) for number, line in enumerate(draft.cases.source.lines, 1)]
    for source, number, line in places:
        is_text = source is draft.source and number >= draft.body_line
        for match in (TODO if is_text else TODO_VALUE).finditer(line):
            span = Span(number, match.start() + 1, len(match[0]))
            yield source.diagnose("todo", span, f"`{match[0]}` is not filled in")


def _length(draft: Draft) -> Iterator[Diagnostic]:
    tokens = count_tokens(draft.body)
    if tokens > LONG:
        code, limit = ("too-long", TOO_LONG) if tokens > TOO_LONG else ("long", LONG)
        hint = "400 to 600 is best: split the policy, or shorten the examples"
        yield draft.source.diagnose(
            code, draft.in_body(1), f"the text has {tokens:,} tokens, more than {limit:,}", hint
        )


def _sections(draft: Draft) -> Iterator[Diagnostic]:
    if draft.language is None:
        return
    titles = "\n".join(line.text for line in draft.text.headings)
    sections = zip(SECTIONS, draft.language.sections, strict=True)
    missing = [name for name, words in sections if not re.search(words, titles, re.IGNORECASE)]
    if missing:
        hint = f"models follow four sections best: {draft.language.section_names}"
        problem = f"missing section: {', '.join(missing)}"
        yield draft.source.diagnose("missing-section", draft.in_body(1), problem, hint)


def _vague(draft: Draft) -> Iterator[Diagnostic]:
    if draft.language is None:
        return
    for line in draft.text.lines:
        if line.in_examples:
            continue
        for match in draft.language.vague_words.finditer(without_quotes(line.text)):
            span = draft.in_body(line.number, match.start() + 1, len(match[0]))
            problem = f"`{match[0]}` leaves the decision to the model"
            yield draft.source.diagnose("vague-word", span, problem, "say exactly when, or remove it")


def _examples(draft: Draft) -> Iterator[Diagnostic]:
    lines = [line for line in draft.text.lines if line.in_examples and line.text.strip()]
    if draft.language is None:
        return
    if not lines:
        if not re.search(rf"\b(?:{draft.language.example})", draft.body, re.IGNORECASE):
            hint = "add a few near the boundary, on both sides"
            yield draft.source.diagnose("no-examples", draft.in_body(1), "the text has no examples", hint)
        return
    sides = {side for line in lines for side in [_side(line, draft)] if side is not None}
    if len(sides) == 1:
        only, other = ("violations", "safe content") if sides == {True} else ("safe content", "a violation")
        where = draft.in_body(lines[0].number, 1, max(len(lines[0].text), 1))
        hint = f"add {other} that looks similar: models learn the boundary from both sides"
        yield draft.source.diagnose("one-sided-examples", where, f"the examples show only {only}", hint)


def _side(line: Line, draft: Draft) -> bool | None:
    """Whether a line of examples shows a violation, safe content, or neither."""
    text, words = without_quotes(line.text, longer_than=2), draft.language or ENGLISH
    if re.search(rf"{SAFE}|\b(?:{words.safe})\b", text, re.IGNORECASE) or any(
        mentions(text, label) for label in draft.words("allowed") if label.strip()
    ):
        return False
    rules = [name for rule in draft.rules for name in (rule.id, rule.category) if name]
    if re.search(rf"{VIOLATES}|\b(?:{words.violates})\b", text, re.IGNORECASE) or any(
        mentions(text, name) for name in rules
    ):
        return True
    return None
