"""Positions: YAML with the place of every key and value, so that a problem can be shown where it stands."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import yaml

Path = tuple[str | int, ...]
Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C parser is ten times as fast


class Span(NamedTuple):
    """A place in a file: 1-based line and column, length in characters."""

    line: int
    column: int = 1
    length: int = 1


class Doubled(NamedTuple):
    """A key given twice in one mapping. YAML would silently keep the last."""

    key: str
    span: Span


class YamlProblem(ValueError):
    """Text that is not YAML. `span` is where it stopped making sense."""

    def __init__(self, message: str, span: Span) -> None:
        super().__init__(message)
        self.span = span


@dataclass(frozen=True)
class Yaml:
    """A YAML document: its value, and where each value and each key stands."""

    value: Any
    values: dict[Path, Span]
    keys: dict[Path, Span]
    doubled: tuple[Doubled, ...]

    def at(self, path: Path) -> Span:
        """Where the value at `path` stands, or else the nearest thing that holds it."""
        return _nearest(self.values, path)

    def key_at(self, path: Path) -> Span:
        """Where the key of the value at `path` stands, or else the nearest thing that holds it."""
        return self.keys.get(path) or _nearest(self.values, path)


def read_yaml(text: str, first_line: int = 1) -> Yaml:
    """Read one YAML document whose first line is line `first_line` of its file. Raises YamlProblem."""
    loader = Loader(text)
    try:
        node = loader.get_single_node()
        value = None if node is None else loader.construct_document(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        span = Span(mark.line + first_line, mark.column + 1) if mark else Span(first_line)
        raise YamlProblem(str(getattr(error, "problem", None) or error), span) from error
    except (ValueError, RecursionError) as error:  # a date that does not exist; brackets without end
        raise YamlProblem(str(error), Span(first_line)) from error
    finally:
        loader.dispose()
    walk = _Walk(first_line)
    if node is not None:
        walk.visit(node, ())
    return Yaml(value, walk.values, walk.keys, tuple(walk.doubled))


class _Walk:
    def __init__(self, first_line: int) -> None:
        self.first_line = first_line
        self.values: dict[Path, Span] = {}
        self.keys: dict[Path, Span] = {}
        self.doubled: list[Doubled] = []
        self.seen: set[int] = set()  # an alias may point at a node that holds it

    def span(self, node: Any) -> Span:
        start, end = node.start_mark, node.end_mark
        same_line = start.line == end.line
        length = end.column - start.column if same_line else 1
        return Span(start.line + self.first_line, start.column + 1, max(length, 1))

    def visit(self, node: Any, path: Path) -> None:
        self.values.setdefault(path, self.span(node))
        if id(node) in self.seen:
            return
        self.seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                name = str(key.value) if isinstance(key, yaml.ScalarNode) else "?"
                inner = (*path, name)
                if inner in self.keys:
                    self.doubled.append(Doubled(name, self.span(key)))
                self.keys[inner] = self.span(key)
                self.visit(value, inner)
        elif isinstance(node, yaml.SequenceNode):
            for index, value in enumerate(node.value):
                self.visit(value, (*path, index))


def _nearest(spans: dict[Path, Span], path: Path) -> Span:
    while path and path not in spans:
        path = path[:-1]
    return spans.get(path, Span(1))
