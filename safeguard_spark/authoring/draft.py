"""Policy draft: a policy file as far as it can be read, with every structural problem in it.

The checks read drafts: unlike a `Policy`, a draft exists for a file with any number of mistakes.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from safeguard_spark.authoring.cases import Cases, cases_path
from safeguard_spark.authoring.diagnostics import Diagnostic, SourceFile
from safeguard_spark.authoring.languages import Language, language_of
from safeguard_spark.authoring.structure import Hints, duplicate_keys, invalid_values, read_source, unknown_key
from safeguard_spark.authoring.text import PolicyText
from safeguard_spark.policy.document import FrontMatterError, Output, Policy, split_document
from safeguard_spark.policy.positions import InvalidYamlError, Span, Yaml, read_yaml
from safeguard_spark.suggest import closest_match

EMPTY = Yaml({}, {}, {}, ())
HINTS = Hints(
    missing={
        "version": "a new policy starts at 1.0.0",
        "name": "it is the first part of name@version",
        "rules.0.id": "a short name without spaces, for example M1",
        "rules.0.category": "what the rule is about, for example counterfeit",
        "cases.0.id": "a short name for reports",
        "cases.0.violation": "true or false",
        "answers.violation": "the word for a violation: [Violating]",
        "answers.safe": "the word for safe content: [Non-violating]",
    },
    bad={
        "version": "three numbers, for example 1.2.0",
        "name": "letters, digits, `.`, `_` and `-` only",
        "languages.0": "language codes such as en or pt-BR",
        "answers.violation": "a list of words, for example [Violating]",
        "answers.safe": "a list of words, for example [Non-violating]",
        "rules.0.id": "letters and digits without spaces, for example M1",
        "rules": "a list of rules, each `{id: M1, category: counterfeit}`",
        "rules.0": "a rule is `{id: M1, category: counterfeit}`",
        "cases.0.conversation": "a list of turns, each `{role: user, text: …}`",
        "cases.0.conversation.0": "a turn is `{role: user, text: …}`",
        "cases.0.violation": "true, false or review",
    },
)


class DraftRule(NamedTuple):
    """A rule as far as it is written; `position` is its index in the list."""

    id: str
    category: str
    title: str
    position: int


@dataclass(frozen=True)
class DraftCases:
    """A cases file as far as it can be read. `values` are the entries that are mappings, by index."""

    source: SourceFile
    yaml: Yaml
    values: dict[int, dict[str, Any]]
    problems: tuple[Diagnostic, ...]


@dataclass(frozen=True)
class Draft:
    """A policy file as far as it can be read. `policy` is None if a mistake keeps it from loading."""

    path: Path
    source: SourceFile
    front: Yaml
    body: str
    body_line: int
    policy: Policy | None
    cases: DraftCases | None
    problems: tuple[Diagnostic, ...]

    @cached_property
    def rules(self) -> list[DraftRule]:
        """The rules that have an id, in order, without those that have a value of another type."""
        value, keys = self.front.value.get("rules"), ("id", "category", "title")
        entries = enumerate(value) if isinstance(value, list) else ()
        return [
            DraftRule(entry["id"], entry.get("category", ""), entry.get("title", ""), index)
            for index, entry in entries
            if isinstance(entry, dict) and "id" in entry and all(isinstance(entry.get(key, ""), str) for key in keys)
        ]

    @property
    def has_rules_list(self) -> bool:
        """Whether the rules can be told, if only because there are none: not behind a wrong key or bad entries."""
        if any(duplicate.path[0] == "rules" for duplicate in self.front.duplicate_keys):
            return False
        if "rules" in self.front.value:
            value = self.front.value["rules"]
            return isinstance(value, list) and sum(bool(rule.category) for rule in self.rules) == len(value)
        unknown = [str(key) for key in self.front.value if key not in Policy.model_fields]
        return not any(closest_match(key, ["rules"]) for key in unknown)

    @property
    def output(self) -> Output:
        """The output form; the default if the file has no valid one."""
        value = self.front.value.get("output")
        return Output(value) if value in list(Output) else Output.full

    @cached_property
    def text(self) -> PolicyText:
        """The body with its structure."""
        return PolicyText(self.body)

    @cached_property
    def language(self) -> Language | None:
        """The language that the text is checked in; None if there is no list of words for it."""
        return language_of(self.body, self.words("languages"))

    def words(self, key: str) -> list[str]:
        """The strings in the front matter's list `key`."""
        value = self.front.value.get(key)
        return [word for word in value if isinstance(word, str)] if isinstance(value, list) else []

    def in_body(self, line: int, column: int = 1, length: int = 1) -> Span:
        """The span in the file of a position in the body."""
        return Span(line + self.body_line - 1, column, length)


def read_draft(path: Path, display_name: str) -> Draft:
    """The draft of a policy file and the cases next to it; `display_name` is for diagnostics. Never raises."""
    source, problems = read_source(path, display_name)
    try:
        parts = split_document(source.text)
        front = read_yaml(parts.front_matter, first_line=2)
        if not isinstance(front.value, dict):
            raise InvalidYamlError("the front matter is no list of `key: value` lines", Span(2), "begin with `name: `")
    except (FrontMatterError, InvalidYamlError) as error:
        span = error.span if isinstance(error, InvalidYamlError) else Span(error.line)
        problems = problems or [source.diagnose("unreadable", span, str(error), error.hint)]
        return Draft(path, source, EMPTY, "", 1, None, _cases(path, display_name), tuple(problems))
    problems += duplicate_keys(source, front)
    policy = None
    try:
        policy = Policy.model_validate({**front.value, "body": parts.body})
    except ValidationError as error:
        problems += invalid_values(error, source, front, Policy, HINTS)
    if "body" in front.value:
        problems.append(unknown_key(source, front, ("body",), []))
    cases = _cases(path, display_name)
    return Draft(path, source, front, parts.body, parts.body_line, policy, cases, tuple(problems))


def _cases(policy_path: Path, display_name: str) -> DraftCases | None:
    path = cases_path(policy_path)
    if not path.is_file():
        return None
    source, problems = read_source(path, str(Path(display_name).with_name(path.name)))
    try:
        yaml = read_yaml(source.text)
    except InvalidYamlError as error:
        return DraftCases(source, EMPTY, {}, (source.diagnose("unreadable", error.span, str(error), error.hint),))
    problems += duplicate_keys(source, yaml)
    try:
        Cases.model_validate(yaml.value if yaml.value is not None else {})
    except ValidationError as error:
        problems += invalid_values(error, source, yaml, Cases, HINTS)
    value = yaml.value.get("cases") if isinstance(yaml.value, dict) else None
    entries = enumerate(value) if isinstance(value, list) else ()
    values = {index: entry for index, entry in entries if isinstance(entry, dict)}
    return DraftCases(source, yaml, values, tuple(problems))
