"""Checks of the labels in a policy's text: rules define them, and the text states the answer format."""

import re
from collections.abc import Iterable, Iterator

from safeguard_spark.authoring.diagnostics import Diagnostic, nearest
from safeguard_spark.authoring.draft import Draft
from safeguard_spark.authoring.text import Block, Cell, mentions, without_quotes
from safeguard_spark.policy.document import NONE, REVIEW, Output

LABEL_COLUMN = re.compile(
    r"\b(categor\w*|catégorie\w*|kategorie\w*|classif\w*|labels?|rules?|rule ids?|regeln?|reglas?|règles?|regras?|"
    r"verdict|answer|urteil|antwort|respuesta|réponse|resposta)\b",
    re.IGNORECASE,
)
PLAIN_ANSWERS = {
    NONE, "0", "1", "safe", "valid", "invalid", "violates", "violation", "yes", "no", "allowed", "ok", "ja",
    "nein", "sí",
    "oui", "non", "sim", "não", "erlaubt", "permitido", "autorisé",
}  # fmt: skip
ANSWER_KEY = re.compile(
    r"\"(policy_category|category|rule_ids)\"\s*:\s*"
    r"(\[[^\]\n]*\]|\"[^\"\n]*\"(?:\s*(?:\||or)\s*\"[^\"\n]*\")*)"  # a list of texts, or texts to choose from
)
ANSWER: dict[
    Output, tuple[tuple[str, ...], tuple[str, ...]]
] = {  # keys that mark a statement of the answer format, and all keys of the answer
    Output.binary: (("0", "1"), ("0", "1")),
    Output.category: (("violation", "policy_category"), ("violation", "policy_category")),
    Output.full: (
        ("violation", "(?:policy_)?category"),
        ("violation", "category", "rule_ids", "confidence", "rationale"),
    ),
}
WORD = re.compile(r"\"([^\"]*)\"")


def check_labels(draft: Draft) -> Iterator[Diagnostic]:
    """Every problem of rule ids, categories and the answer format in the text."""
    if not draft.body.strip():
        return
    yield from _undefined_rules(draft)
    if draft.rules:
        yield from _tables(draft)
        yield from _answers(draft)
        yield from _unmentioned(draft)
    yield from _format(draft)


def _defined(draft: Draft) -> set[str]:
    names = {name for rule in draft.rules for name in (rule.id, rule.category) if name}
    return names | set(_other_labels(draft)) | {word for words in _answer_words(draft) for word in words}


def _other_labels(draft: Draft) -> list[str]:
    """The labels that are no rule's: of safe content, and of content that a person must decide."""
    review = draft.words("review")
    return [*draft.words("allowed"), *review, *([REVIEW] if review else [])]


def _answer_words(draft: Draft) -> tuple[tuple[str, ...], ...]:
    """The words for a violation and for safe content, if the policy names its own."""
    answers = draft.policy.answers if draft.policy else None
    return (answers.violation, answers.safe) if answers else ()


def _undefined_rules(draft: Draft) -> Iterator[Diagnostic]:
    """Words with the same pattern as the ids: if M1 and M2 are rules, M9 must be one too."""
    ids = [rule.id for rule in draft.rules]
    patterns = dict.fromkeys(
        re.sub(r"\d+", r"\\d+", re.escape(i)) for i in [*ids, *_other_labels(draft)] if re.search(r"^[A-Za-z].*\d", i)
    )
    if not patterns:
        return
    pattern = re.compile(rf"(?<![\w./-])(?:{'|'.join(patterns)})(?![\w-])")
    defined = _defined(draft)
    for line in draft.text.lines:
        for match in pattern.finditer(without_quotes(line.text, longer_than=1)):
            if match[0] not in defined:
                span = draft.in_body(line.number, match.start() + 1, len(match[0]))
                problem = f"the text names rule {match[0]}, which the rules do not define"
                yield draft.source.diagnose("undefined-rule", span, problem, nearest(match[0], ids), match[0])


def _tables(draft: Draft) -> Iterator[Diagnostic]:
    defined = _defined(draft)
    for table in draft.text.tables:
        columns = [index for index, cell in enumerate(table.header) if LABEL_COLUMN.search(cell.text)]
        for row in table.rows:
            titles = _titles_of_named_rules(draft, row)
            for cell in (row[index] for index in columns if index < len(row)):
                if cell.text in titles:
                    continue
                for match in re.finditer(r"[^,;/\s`*\"“”]+(?: [^,;/\s`*\"“”]+)*", cell.text):
                    if not _is_defined(match[0], defined):
                        span = draft.in_body(cell.line, cell.column + match.start(), len(match[0]))
                        problem = f"the table's label `{match[0]}` is neither a rule nor a category"
                        hint = nearest(match[0], defined)
                        yield draft.source.diagnose("undefined-category", span, problem, hint, match[0])


def _titles_of_named_rules(draft: Draft, row: Iterable[Cell]) -> set[str]:
    """The titles of the rules whose ids are in a row: a table that defines rules may have both."""
    words = {cell.text.strip("*_` ") for cell in row}
    return {rule.title for rule in draft.rules if rule.id in words}


def _is_defined(label: str, defined: Iterable[str]) -> bool:
    """Whether a table's label is defined, a plain answer, or a defined label with a prefix or suffix (`D-SP2`)."""
    if label.lower() in PLAIN_ANSWERS or label in defined or not re.search(r"\w", label):
        return True
    return any(re.search(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", label) for name in defined)


def _answers(draft: Draft) -> Iterator[Diagnostic]:
    """Answers written as JSON in the text."""
    ids = {rule.id for rule in draft.rules}
    defined = _defined(draft)
    for line in draft.text.lines:
        for match in ANSWER_KEY.finditer(line.text):
            for word in WORD.finditer(match[2]):
                start = line.text.find(word[1], match.start(2) + word.start())
                for label in re.split(r"\s*[|]\s*", word[1]):
                    if _placeholder(label) or label in (ids if match[1] == "rule_ids" else defined | {NONE}):
                        continue
                    if match[1] == "rule_ids" and _has_pattern_of(label, ids):
                        continue  # reported as an undefined rule
                    span = draft.in_body(line.number, max(start, 0) + 1, max(len(word[1]), 1))
                    what = "rule" if match[1] == "rule_ids" else "category"
                    problem = f"the answer's {what} `{label}` is not defined in the rules"
                    hint = nearest(label, ids if what == "rule" else defined)
                    yield draft.source.diagnose("undefined-category", span, problem, hint, label)


def _placeholder(label: str) -> bool:
    return not label.strip() or bool(re.search(r"[<>…]|\.\.\.|\s", label.strip()))


def _has_pattern_of(label: str, ids: Iterable[str]) -> bool:
    return any(re.sub(r"\d+", "0", label) == re.sub(r"\d+", "0", i) for i in ids if re.search(r"\d", i))


def _unmentioned(draft: Draft) -> Iterator[Diagnostic]:
    if draft.output is Output.binary:
        return
    for rule in draft.rules:
        ids = [rule.id] if draft.output is Output.full else []
        for key, label in [*(("id", name) for name in ids), ("category", rule.category)]:
            if label and not mentions(draft.body, label):
                span = draft.front.value_span(("rules", rule.position, key))
                problem = f"the text never mentions the {key} `{label}`, so the model cannot answer it"
                yield draft.source.diagnose("untold-rule", span, problem, "mention it where the rule is explained")


def _format(draft: Draft) -> Iterator[Diagnostic]:
    markers, keys = ANSWER[draft.output]
    if draft.output is Output.binary and (words := _answer_words(draft)):
        keys = tuple(names[0] for names in words)  # what structured output will require
        markers = tuple(re.escape(key) for key in keys)
    stated = [block for block in draft.text.blocks if _states(block, markers)]
    where = draft.in_body(1)
    answer = " or ".join(keys) if draft.output is Output.binary else "a JSON object with " + ", ".join(keys)
    if not stated:
        problem = f"the text does not state the answer format (`output: {draft.output.value}`)"
        yield draft.source.diagnose(
            "no-output-format", where, problem, f"ask for {answer}, near the top and at the end"
        )
        return
    text = "\n".join(block.text for block in stated)
    missing = [key for key in keys if key not in text]
    place = draft.in_body(stated[0].lines[0].number, 1, max(len(stated[0].lines[0].text), 1))
    if missing:
        problem = f"the text never asks for {', '.join(missing)}, which `{draft.output.value}` output requires"
        yield draft.source.diagnose("incomplete-output-format", place, problem, f"ask for {answer}")
    if len(stated) == 1:
        hint = "state it near the top and again at the end, just before the content"
        yield draft.source.diagnose("output-format-once", place, "the answer format is stated only once", hint)


def _states(block: Block, markers: tuple[str, ...]) -> bool:
    """Whether a block outside the examples states the answer format."""
    lines = [line.text for line in block.lines if not line.in_examples and not line.text.strip().startswith("|")]
    text = "\n".join(lines)
    return bool(text) and all(re.search(rf"(?<![\w.]){key}(?![\w.]*\w)", text) for key in markers)
