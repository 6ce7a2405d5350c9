"""Policy draft: a policy file as far as it can be read, with every structural problem in it.

The checks read drafts: unlike a `Policy`, a draft exists for a file with any number of mistakes.
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
    """A rule as far as it is written; `position` is its index in the list."""

    id: str
    category: str
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
        """The rules that have an id, in order."""
        value = self.front.value.get("rules")
        entries = enumerate(value) if isinstance(value, list) else ()
        return [
            DraftRule(str(entry["id"]), str(entry.get("category", "")), index)
            for index, entry in entries
            if isinstance(entry, dict) and "id" in entry
        ]

    @property
    def output(self) -> Output:
        """The output form; the default if the file has no valid one."""
        value = self.front.value.get("output")
        return Output(value) if value in list(Output) else Output.full

    @cached_property
    def text(self) -> PolicyText:
        """The body with its structure."""
        return PolicyText(self.body)

    def words(self, key: str) -> list[str]:
        """The strings in the front matter's list `key`."""
        value = self.front.value.get(key)
        return [word for word in value if isinstance(word, str)] if isinstance(value, list) else []

    def in_body(self, line: int, column: int = 1, length: int = 1) -> Span:
        """The span in the file of a position in the body."""
        return Span(line + self.body_line - 1, column, length)


def read_draft(path: Path, display_name: str) -> Draft:
    """The draft of a policy file and the cases next to it; `display_name` is for diagnostics. Never raises."""
    source, problems = _source(path, display_name)
    try:
        parts = split_document(source.text)
        front = read_yaml(parts.front_matter, first_line=2)
        if not isinstance(front.value, dict):
            raise InvalidYamlError("the front matter is not a list of `key: value` lines", Span(2))
    except (PolicyError, InvalidYamlError) as error:
        span = error.span if isinstance(error, InvalidYamlError) else Span(1)
        problems = problems or [source.diagnose("unreadable", span, str(error))]
        return Draft(path, source, EMPTY, "", 1, None, _cases(path, display_name), tuple(problems))
    problems += _duplicates(source, front)
    policy = None
    try:
        policy = Policy.model_validate({**front.value, "body": parts.body})
    except ValidationError as error:
        problems += _invalid(error, source, front, Policy)
    if "body" in front.value:
        problems.append(_unknown(source, front, ("body",), []))
    cases = _cases(path, display_name)
    return Draft(path, source, front, parts.body, parts.body_line, policy, cases, tuple(problems))


def _cases(policy_path: Path, display_name: str) -> DraftCases | None:
    path = cases_path(policy_path)
    if not path.is_file():
        return None
    source, problems = _source(path, str(Path(display_name).with_name(path.name)))
    try:
        yaml = read_yaml(source.text)
    except InvalidYamlError as error:
        return DraftCases(source, EMPTY, {}, (source.diagnose("unreadable", error.span, str(error)),))
    problems += _duplicates(source, yaml)
    try:
        Cases.model_validate(yaml.value if yaml.value is not None else {})
    except ValidationError as error:
        problems += _invalid(error, source, yaml, Cases)
    value = yaml.value.get("cases") if isinstance(yaml.value, dict) else None
    entries = enumerate(value) if isinstance(value, list) else ()
    values = {index: entry for index, entry in entries if isinstance(entry, dict)}
    return DraftCases(source, yaml, values, tuple(problems))


def _source(path: Path, display_name: str) -> tuple[SourceFile, list[Diagnostic]]:
    try:
        return SourceFile(display_name, path.read_text(encoding=ENCODING)), []
    except UnicodeDecodeError as error:
        before = error.object[: error.start].decode("utf-8", "replace")
        span = Span(before.count("\n") + 1, len(before) - before.rfind("\n"))
        problem = f"not UTF-8 text (byte {error.start})"
        # Shown as far as it can be read, but not checked: its text is not known.
        readable = SourceFile(display_name, error.object.decode("utf-8", "replace"))
        return SourceFile(display_name, ""), [readable.diagnose("unreadable", span, problem, "save the file as UTF-8")]
    except OSError as error:
        source = SourceFile(display_name, "")
        return source, [source.diagnose("unreadable", Span(1), f"it cannot be read: {error.strerror}")]


def _duplicates(source: SourceFile, yaml: Yaml) -> list[Diagnostic]:
    return [
        source.diagnose("duplicate-key", duplicate.span, f"`{duplicate.key}` occurs twice", "keep one of them")
        for duplicate in yaml.duplicate_keys
    ]


def _invalid(error: ValidationError, source: SourceFile, yaml: Yaml, model: type[BaseModel]) -> list[Diagnostic]:
    diagnostics = []
    for problem in error.errors():
        path = tuple(problem["loc"])
        name = ".".join(str(part) for part in path)
        if problem["type"] == "extra_forbidden":
            diagnostics.append(_unknown(source, yaml, path, _fields(model, path[:-1])))
        elif problem["type"] == "missing":
            where = yaml.value_span(path[:-1])._replace(length=1)
            diagnostics.append(source.diagnose("missing-key", where, f"`{name}` is missing", _MISSING.get(name, "")))
        else:
            message = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
            hint = _BAD.get(".".join("0" if isinstance(part, int) else part for part in path), "")
            if problem["type"] == "string_type" and not hint and isinstance(problem["input"], int | float):
                hint = "put it in quotes"
            diagnostics.append(source.diagnose("bad-value", yaml.value_span(path), f"`{name}`: {message}", hint))
    return diagnostics


_MISSING = {"version": "a new policy starts at 1.0.0", "name": "it is the first part of name@version"}
_BAD = {
    "version": "three numbers, for example 1.2.0",
    "name": "letters, digits, `.`, `_` and `-` only",
    "output": "one of binary, category, full",
    "languages.0": "language codes such as en or pt-BR",
    "rules.0.severity": "one of low, medium, high, critical",
    "cases.0.rules": "a list, for example [M1]",
    "cases.0.violation": "true or false",
}


def _unknown(source: SourceFile, yaml: Yaml, path: tuple[str | int, ...], valid: Iterable[str]) -> Diagnostic:
    key = str(path[-1])
    match = closest_match(key, valid)
    alternatives = f"valid keys: {', '.join(valid)}" if valid else "the text after the second --- is the body"
    hint = f"did you mean {match}?" if match else alternatives
    return source.diagnose("unknown-key", yaml.key_span(path), f"there is no key `{key}` here", hint)


def _fields(model: type[BaseModel], path: tuple[str | int, ...]) -> list[str]:
    """The keys of the format at a path. `body` is a field of the model but not a key of the file."""
    for part in path:
        if isinstance(part, str) and part in model.model_fields:
            model = _model(model.model_fields[part].annotation) or model
    return [name for name in model.model_fields if name != "body"]


def _model(annotation: Any) -> type[BaseModel] | None:
    """The model inside an annotation such as `tuple[Rule, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for inner in get_args(annotation) if (model := _model(inner))), None)
