"""Checks of what is not what its author wrote: texts cut by a comment, merge conflicts, names that only look right."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from safeguard_spark.authoring.diagnostics import Diagnostic, SourceFile
from safeguard_spark.authoring.draft import Draft
from safeguard_spark.labelling.contract import NO_CATEGORY
from safeguard_spark.policy.characters import look_alike_hint, strange_characters
from safeguard_spark.policy.document import REVIEW, ambiguous_review_words
from safeguard_spark.policy.names import level
from safeguard_spark.policy.positions import Span, Yaml, YamlPath
from safeguard_spark.policy.yaml_problems import CONFLICT, RESOLVE

PROSE = {"text", "why", "title", "description"}  # values that people write sentences in
RULE, ALLOWED = "rule id", "label in `allowed`"
WORD = re.compile(r"[^\s`*\"“”(),;:|\[\]{}]+")


def check_written(draft: Draft) -> Iterator[Diagnostic]:
    """Every such problem of a policy and of its cases."""
    sources = [(draft.source, draft.front), *([(draft.cases.source, draft.cases.yaml)] if draft.cases else [])]
    for source, yaml in sources:
        yield from conflicts(source)
        yield from _cut_texts(source, yaml)
    yield from _strange_names(draft)
    yield from _strange_words(draft)
    yield from _same_names(draft)
    yield from _review_words(draft)


def conflicts(source: SourceFile) -> Iterator[Diagnostic]:
    """The marks that git leaves where it cannot merge two versions; only the first, which stands for the rest."""
    if CONFLICT.search(source.text):
        number = next(n for n, line in enumerate(source.lines, 1) if CONFLICT.fullmatch(line))
        span = Span(number, 1, len(source.lines[number - 1]))
        yield source.diagnose("merge-conflict", span, "the marks of a merge conflict are still in the file", RESOLVE)


def _cut_texts(source: SourceFile, yaml: Yaml) -> Iterator[Diagnostic]:
    for comment in yaml.comments:
        key = next((part for part in reversed(comment.path) if isinstance(part, str)), "")
        if key in PROSE or re.match(r"#\S", comment.text):
            problem = f"`{key}` ends before this: YAML reads ` #` and the rest of the line as a comment"
            hint = "put the whole text in quotes; a comment goes on a line of its own"
            yield source.diagnose("cut-text", comment.span, problem, hint)


def _strange_names(draft: Draft) -> Iterator[Diagnostic]:
    """Invisible characters and look-alike letters in what an answer may have, where it is defined."""
    for name in (*_names(draft), *_other_names(draft)):
        if strange := strange_characters(name.text):
            problem = f"the {name.kind} `{name.text}` has {', '.join(strange)}"
            hint = "type it again: what a model answers would not have this character"
            yield draft.source.diagnose("look-alike", draft.front.value_span(name.path), problem, hint)
    for index, case in (draft.cases.values if draft.cases else {}).items():
        if draft.cases and (strange := strange_characters(str(case.get("id", "")))):
            problem = f"the case id `{case['id']}` has {', '.join(strange)}"
            span = draft.cases.yaml.value_span(("cases", index, "id"))
            yield draft.cases.source.diagnose("look-alike", span, problem, "type it again")


def _strange_words(draft: Draft) -> Iterator[Diagnostic]:
    """Words of the text that look like a label, and would not be read as it: the model answers them as written."""
    labels = [name.text for name in (*_names(draft), *_other_names(draft)) if len(name.text) > 1]
    read = {level(label) for label in labels}
    for line in draft.text.lines:
        for match in WORD.finditer(line.text):
            if match[0].isascii() or level(match[0]) in read or not (hint := look_alike_hint(match[0], labels)):
                continue
            span = draft.in_body(line.number, match.start() + 1, len(match[0]))
            yield draft.source.diagnose("look-alike", span, f"the text has `{match[0]}`, which is no label", hint)


def _review_words(draft: Draft) -> Iterator[Diagnostic]:
    """Words for content that a person must decide that mean something else as well."""
    shared = ambiguous_review_words(draft.policy) if draft.policy else set[str]()
    words = [(("review", index), word) for index, word in enumerate(draft.words("review"))]
    names = [*words, *((name.path, name.text) for name in _names(draft) if level(name.text) == REVIEW)]
    for path, word in names:
        if level(word) in shared:
            problem = f"`{word}` would mean that a person must decide, and something else as well"
            yield draft.source.diagnose("bad-value", draft.front.value_span(path), problem, "choose another word")


def _same_names(draft: Draft) -> Iterator[Diagnostic]:
    """Names that an answer cannot tell apart: it is read without case, spaces, hyphens and underscores."""
    categories: dict[str, _Name] = {}
    rules: dict[str, _Name] = {}
    for name in _names(draft):
        key, where = level(name.text), draft.front.value_span(name.path)
        if key in NO_CATEGORY and name.kind != ALLOWED:
            problem = f"`{name.text}` cannot be a {name.kind}: in an answer it means that nothing is violated"
            yield draft.source.diagnose("bad-value", where, problem, "choose another name")
            continue
        earlier = categories.setdefault(key, name)
        if earlier.category == name.category and name.kind == RULE:
            earlier = rules.setdefault(key, name)
            if earlier.text == name.text:  # a rule that is defined twice is reported as such
                continue
        if earlier.category != name.category or (earlier.kind == name.kind == RULE and earlier is not name):
            problem = f"the {name.kind} `{name.text}` and the {earlier.kind} `{earlier.text}` are one name in an answer"
            hint = "rename one: an answer is read without case, spaces, hyphens and underscores"
            yield draft.source.diagnose("ambiguous-name", where, problem, hint)


class _Name(NamedTuple):
    """A name that an answer may have: where it is defined, and the category that it means (none: empty)."""

    path: YamlPath
    kind: str
    text: str
    category: str


def _names(draft: Draft) -> Iterator[_Name]:
    for rule in draft.rules:
        yield _Name(("rules", rule.position, "id"), RULE, rule.id, rule.category)
        if rule.category:
            yield _Name(("rules", rule.position, "category"), "category", rule.category, rule.category)
    for index, word in enumerate(draft.words("allowed")):
        yield _Name(("allowed", index), ALLOWED, word, "")


def _other_names(draft: Draft) -> Iterator[_Name]:
    """The words that an answer may have for a violation, for safe content, and for what a person must decide."""
    for index, word in enumerate(draft.words("review")):
        yield _Name(("review", index), "word in `review`", word, "")
    answers = draft.policy.answers if draft.policy else None
    for key, words in answers.model_dump().items() if answers else ():
        for index, word in enumerate(words):
            yield _Name(("answers", key, index), f"word in `answers.{key}`", word, "")
