"""Structure: reads a YAML file of the user's and reports what does not fit its model, each problem where it is."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel, ValidationError

from safeguard_spark.authoring.diagnostics import Diagnostic, SourceFile
from safeguard_spark.policy.characters import look_alike_hint, strange_characters
from safeguard_spark.policy.document import ENCODING, NUL
from safeguard_spark.policy.positions import Span, Yaml
from safeguard_spark.suggest import closest_match
from safeguard_spark.value_problems import is_misread_text, problem_words, value_words


class Hints(NamedTuple):
    """What to write instead, by key; the index of a list is 0: `rules.0.severity`."""

    missing: Mapping[str, str]
    bad: Mapping[str, str]


def read_source(path: Path, display_name: str) -> tuple[SourceFile, list[Diagnostic]]:
    """A file's text, empty with a diagnostic if it cannot be read. `display_name` is for diagnostics. Never raises."""
    try:
        text = path.read_text(encoding=ENCODING)
        if NUL not in text:
            return SourceFile(display_name, text), []
        before, problem = text[: text.index(NUL)], f"not UTF-8 text (NUL character {text.index(NUL)})"
    except UnicodeDecodeError as error:
        before, problem = error.object[: error.start].decode("utf-8", "replace"), f"not UTF-8 text (byte {error.start})"
        text = error.object.decode("utf-8", "replace")
    except OSError as error:
        source = SourceFile(display_name, "")
        return source, [source.diagnose("unreadable", Span(1), f"it cannot be read: {error.strerror}")]
    span = Span(before.count("\n") + 1, len(before) - before.rfind("\n"))
    # Shown as far as it can be read, but not checked: its text is not known.
    readable = SourceFile(display_name, text)
    return SourceFile(display_name, ""), [readable.diagnose("unreadable", span, problem, "save the file as UTF-8")]


def duplicate_keys(source: SourceFile, yaml: Yaml) -> list[Diagnostic]:
    """One diagnostic for each key that a mapping has twice."""
    return [
        source.diagnose("duplicate-key", duplicate.span, f"`{duplicate.key}` occurs twice", "keep one of them")
        for duplicate in yaml.duplicate_keys
    ]


def invalid_values(
    error: ValidationError, source: SourceFile, yaml: Yaml, model: type[BaseModel], hints: Hints
) -> list[Diagnostic]:
    """One diagnostic for each problem that pydantic found in the values of a file."""
    diagnostics = []
    problems = error.errors()
    for problem in problems:
        path = tuple(problem["loc"])
        if problem["type"] == "too_short" and any(tuple(other["loc"][:-1])[: len(path)] == path for other in problems):
            continue  # it only counts the entries that have no problem
        message = problem_words(problem)
        if path[:1] == ("cases",) and (name := _case_id(yaml, path)):
            message = re.sub(r"\bcase \d+", lambda _: f"case {name}", message, count=1)
        pattern = ".".join("0" if isinstance(part, int) else part for part in path)
        if problem["type"] == "extra_forbidden":
            diagnostics.append(unknown_key(source, yaml, path, _fields(model, path[:-1])))
            if problem["input"] is None and len(path) > 1:
                hint = f"a text with a comma must be in quotes, or {diagnostics[-1].hint}"
                diagnostics[-1] = replace(diagnostics[-1], hint=hint)
        elif problem["type"] == "missing":
            where = yaml.value_span(path[:-1])._replace(length=1)
            hint = hints.missing.get(pattern, "")
            diagnostics.append(source.diagnose("missing-key", where, message, hint))
        else:
            if not path and problem["type"] != "value_error":
                message = "the file is no list of `key: value` lines"
            hint = _hint(problem, path, hints.bad.get(pattern, ""))
            if comment := _comment(yaml, path, problem["input"]):
                message += f": YAML reads `{value_words(comment)[1:-1]}` as a comment"
                hint = "put the whole text in quotes"
            diagnostics.append(source.diagnose("bad-value", yaml.value_span(path), message, hint))
    return diagnostics


def _hint(problem: Mapping[str, Any], path: tuple[str | int, ...], usual: str) -> str:
    """What to write in place of a value. `usual`: what the format requires there."""
    value = problem["input"]
    if isinstance(value, str) and (strange := strange_characters(value)):
        return f"it has {', '.join(strange)}: type it again"
    if isinstance(value, str) and problem["type"] in ("list_type", "tuple_type"):
        return usual or f"write `{path[-1]}: [{value}]`"
    return usual or ("put it in quotes" if is_misread_text(problem) else "")


def _case_id(yaml: Yaml, path: tuple[str | int, ...]) -> str:
    """The id of the case at a path; empty if it has none that can be read."""
    cases = yaml.value["cases"] if len(path) > 1 else None
    case = cases[path[1]] if isinstance(cases, list) and isinstance(path[1], int) else None
    name = case.get("id") if isinstance(case, dict) else None
    return name if isinstance(name, str) else ""


def _comment(yaml: Yaml, path: tuple[str | int, ...], value: Any) -> str:
    """The comment that stands in place of a value, or of one of its keys' values; empty if there is none."""
    empty = [path] if value is None else []
    if isinstance(value, dict):
        empty = [(*path, key) for key, inner in value.items() if inner is None]
    return next((comment.text for comment in yaml.comments if comment.path in empty), "")


def unknown_key(source: SourceFile, yaml: Yaml, path: tuple[str | int, ...], valid: Iterable[str]) -> Diagnostic:
    """A diagnostic for a key that is not part of the format: the most similar of the valid ones, or all of them."""
    key, valid = str(path[-1]), list(valid)
    match = closest_match(key, valid)
    alternatives = f"valid keys: {', '.join(valid)}" if valid else "the text after the second --- is the body"
    hint = look_alike_hint(key, valid) or (f"did you mean {match}?" if match else alternatives)
    return source.diagnose("unknown-key", yaml.key_span(path), f"there is no key `{key}` here", hint, f"key {key}")


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
