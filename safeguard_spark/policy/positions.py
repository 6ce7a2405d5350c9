"""Positions: YAML with the position of every key and value, so that a problem can be shown where it is in the file."""

import contextlib
import re
from dataclasses import dataclass
from typing import Any, NamedTuple

import yaml

from safeguard_spark.policy.yaml_problems import QUOTE, ParserStop, YamlProblem, explain_date, explain_yaml

YamlPath = tuple[str | int, ...]  # keys and list indices from the outermost value to an inner one
MAX_DEPTH = 100  # of values inside each other
Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C parser is ten times as fast


class Span(NamedTuple):
    """A position in a file: 1-based line and column, length in characters."""

    line: int
    column: int = 1
    length: int = 1


class DuplicateKey(NamedTuple):
    """A key that a mapping has more than once. YAML would silently keep the last."""

    key: str
    span: Span
    path: YamlPath = ()


class Comment(NamedTuple):
    """A comment behind a value without quotes: perhaps the end of the value, if that has a ` #`."""

    path: YamlPath
    text: str
    span: Span


class InvalidYamlError(ValueError):
    """Text that is not YAML. `span` is where the problem is, `hint` what to type."""

    def __init__(self, message: str, span: Span, hint: str = "") -> None:
        super().__init__(message)
        self.span = span
        self.hint = hint


@dataclass(frozen=True)
class Yaml:
    """A YAML document: its value, and the position of each value and each key."""

    value: Any
    value_spans: dict[YamlPath, Span]
    key_spans: dict[YamlPath, Span]
    duplicate_keys: tuple[DuplicateKey, ...]
    comments: tuple[Comment, ...] = ()

    def value_span(self, path: YamlPath) -> Span:
        """The position of the value at `path`, or if there is none, of the innermost value that would contain it."""
        return _innermost(self.value_spans, path)

    def key_span(self, path: YamlPath) -> Span:
        """The position of the key at `path`, or if there is none, of the innermost value that would contain it."""
        return self.key_spans.get(path) or _innermost(self.value_spans, path)


def read_yaml(text: str, first_line: int = 1) -> Yaml:
    """Read one YAML document whose first line is line `first_line` of its file. Raises InvalidYamlError."""
    _require_readable(text, first_line)
    loader = Loader(text)
    try:
        node = loader.get_single_node()
        value = None if node is None else loader.construct_document(node)
    except yaml.YAMLError as error:
        raise _invalid(explain_yaml(_stop(text, error)), first_line) from error
    except ValueError as error:
        raise _invalid(explain_date(text), first_line) from error
    finally:
        loader.dispose()
    collector = _SpanCollector(text, first_line)
    if node is not None:
        collector.visit(node, ())
    return Yaml(
        value, collector.value_spans, collector.key_spans, tuple(collector.duplicate_keys), tuple(collector.comments)
    )


def _require_readable(text: str, first_line: int) -> None:
    """Raise InvalidYamlError for what the parser would not report.

    Values that are nested too deeply: the C parser would end the process. Texts that begin with `&` or `! `: YAML reads
    that as a name or a type of the text, and drops it.
    """
    depth = 0
    names: dict[str, Any] = {}
    with contextlib.suppress(yaml.YAMLError):  # which the parser reports below
        for event in yaml.parse(text, Loader):
            if isinstance(event, yaml.AliasEvent):
                names.pop(str(event.anchor), None)
            if isinstance(event, yaml.ScalarEvent):
                if event.anchor:
                    names[event.anchor] = event.start_mark
                if event.tag == "!":
                    raise _dropped("!", event.start_mark, first_line)
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                mark: Any = event.start_mark  # which this parser always sets
                span = Span(mark.line + first_line, mark.column + 1)
                what = f"more than {MAX_DEPTH} lists and mappings are inside each other"
                raise InvalidYamlError(what, span, "close a bracket, or indent less")
    for mark in names.values():  # names that nothing refers to
        raise _dropped("&", mark, first_line)


def _dropped(character: str, mark: Any, first_line: int) -> InvalidYamlError:
    span = Span(mark.line + first_line, mark.column + 1)
    return InvalidYamlError(f"a text cannot begin with `{character}`", span, QUOTE)


def _stop(text: str, error: yaml.YAMLError) -> ParserStop:
    mark, context = (getattr(error, name, None) for name in ("problem_mark", "context_mark"))
    stopped = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    began = (context.line + 1, context.column + 1) if context else stopped
    words = [getattr(error, name, None) for name in ("problem", "context")]
    return ParserStop(text, "; ".join(filter(None, words)) or str(error), *stopped, *began)


def _invalid(problem: YamlProblem, first_line: int) -> InvalidYamlError:
    span = Span(problem.line + first_line - 1, problem.column)
    return InvalidYamlError(problem.message, span, problem.hint)


class _SpanCollector:
    def __init__(self, text: str, first_line: int) -> None:
        self.lines = text.split("\n")
        self.first_line = first_line
        self.comments: list[Comment] = []
        self.value_spans: dict[YamlPath, Span] = {}
        self.key_spans: dict[YamlPath, Span] = {}
        self.duplicate_keys: list[DuplicateKey] = []
        self.collections: set[YamlPath] = set()
        self.visited: set[int] = set()  # an alias may point at a node that contains it

    def span(self, node: Any) -> Span:
        start, end = node.start_mark, node.end_mark
        same_line = start.line == end.line
        length = end.column - start.column if same_line else 1
        return Span(start.line + self.first_line, start.column + 1, max(length, 1))

    def comment(self, node: Any, path: YamlPath) -> None:
        """Keep the comment behind a plain value. (YAML counts other line ends than ours as well.)"""
        mark = node.end_mark
        row = self.lines[mark.line] if mark.line < len(self.lines) else ""
        if match := re.match(r"\s+(#.*)", row[mark.column :]):
            column = mark.column + match.start(1) + 1
            self.comments.append(Comment(path, match[1], Span(mark.line + self.first_line, column, len(match[1]))))

    def forget(self, path: YamlPath) -> None:
        """Drop the positions of a value that a later one of the same key replaces."""
        for spans in (self.value_spans, self.key_spans):
            for inner in [other for other in spans if other[: len(path)] == path]:
                del spans[inner]

    def visit(self, node: Any, path: YamlPath) -> None:
        self.value_spans.setdefault(path, self.span(node))
        if id(node) in self.visited:
            return
        self.visited.add(id(node))
        if isinstance(node, yaml.ScalarNode):
            if not node.style:
                self.comment(node, path)
        else:
            self.collections.add(path)
        if isinstance(node, yaml.MappingNode):
            merged = set[YamlPath]()  # by `<<: *name`, which a key of the mapping's own may replace
            for key, value in node.value:
                name = str(key.value) if isinstance(key, yaml.ScalarNode) else "?"
                inner = (*path, name)
                if inner in self.key_spans:
                    if inner not in merged:
                        self.duplicate_keys.append(DuplicateKey(name, self.span(key), inner))
                    if inner in self.collections:
                        self.forget(inner)
                is_own = node.start_mark.index <= key.start_mark.index < node.end_mark.index
                (merged.discard if is_own else merged.add)(inner)
                self.key_spans[inner] = self.span(key)
                self.visit(value, inner)
        elif isinstance(node, yaml.SequenceNode):
            for index, value in enumerate(node.value):
                self.visit(value, (*path, index))


def _innermost(spans: dict[YamlPath, Span], path: YamlPath) -> Span:
    while path and path not in spans:
        path = path[:-1]
    return spans.get(path, Span(1))
