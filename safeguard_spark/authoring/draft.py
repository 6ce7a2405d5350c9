"""Policy draft: a policy file as far as it can be read, with every structural problem found on the way.

A draft is what the checks look at: unlike a `Policy` it exists for a file with any number of mistakes.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel, ValidationError

from safeguard_spark.authoring.cases import Cases, cases_path
from safeguard_spark.authoring.diagnostics import Diagnostic, SourceFile
from safeguard_spark.authoring.text import PolicyText
from safeguard_spark.errors import PolicyError
from safeguard_spark.policy.document import ENCODING, Output, Policy, split_document
from safeguard_spark.policy.positions import InvalidYamlError, Span, Yaml, read_yaml
from safeguard_spark.suggest import closest_match

EMPTY = Yaml({}, {}, {}, ())


class DraftRule(NamedTuple):
    """A rule as far as it is written; `position` is its place in the list."""

    id: str
    category: str
    position: int


@dataclass(frozen=True)
class DraftCases:
    """A cases file as far as it can be read. `values` are the entries that are mappings, by their place."""

    source: SourceFile
    yaml: Yaml
    values: dict[int, dict[str, Any]]
    problems: tuple[Diagnostic, ...]


@dataclass(frozen=True)
class Draft:
    """A policy file as far as it can be read. `policy` is None if it has a mistake that stops it from loading."""

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
        """The rules that have an id, in order."""
        listed = self.front.value.get("rules")
        entries = enumerate(listed) if isinstance(listed, list) else ()
        return [
            DraftRule(str(entry["id"]), str(entry.get("category", "")), index)
            for index, entry in entries
            if isinstance(entry, dict) and "id" in entry
        ]

    @property
    def output(self) -> Output:
        """The output form; the default where the file's own is none."""
        named = self.front.value.get("output")
        return Output(named) if named in list(Output) else Output.full

    @cached_property
    def text(self) -> PolicyText:
        """The body, read for its structure."""
        return PolicyText(self.body)

    def words(self, key: str) -> list[str]:
        """The front matter's list `key` as far as it holds texts."""
        listed = self.front.value.get(key)
        return [word for word in listed if isinstance(word, str)] if isinstance(listed, list) else []

    def in_body(self, line: int, column: int = 1, length: int = 1) -> Span:
        """The place in the file of a place in the body."""
        return Span(line + self.body_line - 1, column, length)


def read_draft(path: Path, shown: str) -> Draft:
    """The draft of a policy file and the cases beside it; `shown` is the file's name in diagnostics. Never raises."""
    source, problems = _source(path, shown)
    try:
        parts = split_document(source.text)
        front = read_yaml(parts.front_matter, first_line=2)
        if not isinstance(front.value, dict):
            raise InvalidYamlError("the front matter is not a list of `key: value` lines", Span(2))
    except (PolicyError, InvalidYamlError) as error:
        span = error.span if isinstance(error, InvalidYamlError) else Span(1)
        problems = problems or [source.diagnose("unreadable", span, str(error))]
        return Draft(path, source, EMPTY, "", 1, None, _cases(path, shown), tuple(problems))
    problems += _doubled(source, front)
    policy = None
    try:
        policy = Policy.model_validate({**front.value, "body": parts.body})
    except ValidationError as error:
        problems += _invalid(error, source, front, Policy)
    if "body" in front.value:
        problems.append(_unknown(source, front, ("body",), []))
    cases = _cases(path, shown)
    return Draft(path, source, front, parts.body, parts.body_line, policy, cases, tuple(problems))


def _cases(policy_path: Path, shown: str) -> DraftCases | None:
    path = cases_path(policy_path)
    if not path.is_file():
        return None
    source, problems = _source(path, str(Path(shown).with_name(path.name)))
    try:
        yaml = read_yaml(source.text)
    except InvalidYamlError as error:
        return DraftCases(source, EMPTY, {}, (source.diagnose("unreadable", error.span, str(error)),))
    problems += _doubled(source, yaml)
    try:
        Cases.model_validate(yaml.value if yaml.value is not None else {})
    except ValidationError as error:
        problems += _invalid(error, source, yaml, Cases)
    listed = yaml.value.get("cases") if isinstance(yaml.value, dict) else None
    entries = enumerate(listed) if isinstance(listed, list) else ()
    values = {index: entry for index, entry in entries if isinstance(entry, dict)}
    return DraftCases(source, yaml, values, tuple(problems))


def _source(path: Path, shown: str) -> tuple[SourceFile, list[Diagnostic]]:
    try:
        return SourceFile(shown, path.read_text(encoding=ENCODING)), []
    except UnicodeDecodeError as error:
        before = error.object[: error.start].decode("utf-8", "replace")
        span = Span(before.count("\n") + 1, len(before) - before.rfind("\n"))
        problem = f"not UTF-8 text (byte {error.start})"
        # Shown as far as it can be read, but checked no further: what it says is not known.
        shown_as = SourceFile(shown, error.object.decode("utf-8", "replace"))
        return SourceFile(shown, ""), [shown_as.diagnose("unreadable", span, problem, "save the file as UTF-8")]
    except OSError as error:
        source = SourceFile(shown, "")
        return source, [source.diagnose("unreadable", Span(1), f"it cannot be read: {error.strerror}")]


def _doubled(source: SourceFile, yaml: Yaml) -> list[Diagnostic]:
    return [
        source.diagnose("duplicate-key", double.span, f"`{double.key}` is given twice", "keep one of them")
        for double in yaml.duplicate_keys
    ]


def _invalid(error: ValidationError, source: SourceFile, yaml: Yaml, model: type[BaseModel]) -> list[Diagnostic]:
    found = []
    for problem in error.errors():
        path = tuple(problem["loc"])
        name = ".".join(str(part) for part in path)
        if problem["type"] == "extra_forbidden":
            found.append(_unknown(source, yaml, path, _fields(model, path[:-1])))
        elif problem["type"] == "missing":
            where = yaml.value_span(path[:-1])._replace(length=1)
            found.append(source.diagnose("missing-key", where, f"`{name}` is missing", _MISSING.get(name, "")))
        else:
            message = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
            hint = _BAD.get(_shape(path), "")
            if problem["type"] == "string_type" and not hint and isinstance(problem["input"], int | float):
                hint = "put it in quotes"
            found.append(source.diagnose("bad-value", yaml.value_span(path), f"`{name}`: {message}", hint))
    return found


_MISSING = {"version": "a new policy begins at 1.0.0", "name": "it is the first part of name@version"}
_BAD = {
    "version": "three numbers, for example 1.2.0",
    "name": "letters, digits, `.`, `_` and `-` only",
    "output": "one of binary, category, full",
    "languages.0": "language codes such as en or pt-BR",
    "rules.0.severity": "one of low, medium, high, critical",
    "cases.0.rules": "a list, for example [M1]",
    "cases.0.violation": "true or false",
}


def _shape(path: tuple[str | int, ...]) -> str:
    return ".".join("0" if isinstance(part, int) else part for part in path)


def _unknown(source: SourceFile, yaml: Yaml, path: tuple[str | int, ...], known: Iterable[str]) -> Diagnostic:
    key = str(path[-1])
    match = closest_match(key, known)
    listed = f"known keys: {', '.join(known)}" if known else "the text after the second --- is the body"
    hint = f"did you mean {match}?" if match else listed
    return source.diagnose("unknown-key", yaml.key_span(path), f"there is no key `{key}` here", hint)


def _fields(model: type[BaseModel], path: tuple[str | int, ...]) -> list[str]:
    """The keys the format has at a path. `body` is a field of the model but no key of the file."""
    for part in path:
        if isinstance(part, str) and part in model.model_fields:
            model = _model(model.model_fields[part].annotation) or model
    return [name for name in model.model_fields if name != "body"]


def _model(annotation: Any) -> type[BaseModel] | None:
    """The model inside an annotation such as `tuple[Rule, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _model(inner))), None)
