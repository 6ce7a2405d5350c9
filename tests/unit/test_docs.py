"""The reference pages name every column and every key as the code has them, and no other."""

import re
from collections.abc import Iterator
from enum import EnumType
from pathlib import Path
from typing import Any, NamedTuple, get_args

import duckdb
import pytest
from pydantic import BaseModel

from safeguard_spark import schema
from safeguard_spark.config.load import ENV_PREFIX, FREE
from safeguard_spark.config.model import RunConfig
from safeguard_spark.labelling.verdict import Outcome

pytestmark = pytest.mark.unit

DOCS = Path(__file__).parents[2] / "docs"
TABLES, CONFIGURATION = DOCS / "tables.md", DOCS / "configuration.md"
OPEN = (*FREE, "engine.args")  # mappings whose keys are other programs'


def sections(file: Path) -> dict[str, str]:
    """The page's second-level sections by heading, backticks off."""
    parts = re.split(r"^## (.+)$", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {heading.strip().strip("`"): text for heading, text in zip(parts[1::2], parts[2::2], strict=True)}


def rows(text: str, first: str) -> list[list[str]]:
    """Cells of the Markdown table whose first column is headed `first`, backticks of the first cell off."""
    found: list[list[str]] = []
    inside = False
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else []
        inside = bool(cells) and (inside or cells[0] == first)
        if inside and cells[0] != first and not set(cells[0]) <= set("-: "):
            found.append([cells[0].strip("`"), *cells[1:]])
    return found


def doubled(names: list[str]) -> list[str]:
    return sorted({name for name in names if names.count(name) > 1})


# docs/tables.md


@pytest.mark.parametrize("table", schema.TABLES, ids=lambda table: table.name)
def test_each_table_has_a_section_with_all_its_columns_and_their_types_and_no_other(table: schema.Table) -> None:
    text = sections(TABLES).get(table.name)
    assert text is not None, (
        f"docs/tables.md: add a section '## `{table.name}`' that begins with what one row is ({table.comment}), and a "
        "table with the columns column, type and meaning"
    )
    found = rows(text, "column")
    names = [cells[0] for cells in found]
    for column in table.columns:
        kind = column.type.replace("<", r"\<").replace(">", r"\>")
        said = f"| `{column.name}` | {kind} | {column.comment} |"
        assert column.name in names, f"docs/tables.md, section `{table.name}`: add the row\n{said}"
        row = found[names.index(column.name)]
        assert row[1] == kind, f"docs/tables.md, section `{table.name}`: `{column.name}` is {kind}, not {row[1]}"
        assert len(row) == 3 and row[2], f"docs/tables.md, section `{table.name}`: `{column.name}` has no meaning"
    gone = set(names) - set(table.names)
    assert not gone, f"docs/tables.md, section `{table.name}`: remove {sorted(gone)}, the table has no such column"
    assert not doubled(names), f"docs/tables.md, section `{table.name}`: {doubled(names)} is there twice"


@pytest.mark.parametrize("table", schema.TABLES, ids=lambda table: table.name)
def test_each_constraint_is_named(table: schema.Table) -> None:
    for name, check in table.checks:
        said = f"docs/tables.md, section `{table.name}`: name the constraint `{name}` and say what it asks ({check})"
        assert f"`{name}`" in sections(TABLES)[table.name], said


def test_every_outcome_is_explained_and_no_other() -> None:
    found = [cells[0] for cells in rows(sections(TABLES)["What a label says"], "outcome")]
    assert sorted(found) == sorted(Outcome), "docs/tables.md, section 'What a label says': one row per outcome"


def queries() -> list[str]:
    return re.findall(r"^```sql\n(.*?)^```", TABLES.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("query", queries(), ids=lambda query: " ".join(query.split())[:60])
def test_each_example_query_runs_on_the_tables_as_they_are(query: str) -> None:
    with duckdb.connect() as db:
        for table in schema.TABLES:
            columns = ", ".join(f"{c.name} {_duck(c.type)}" for c in table.columns)
            db.execute(f"CREATE TABLE {table.name} ({columns})")
        db.execute(f"CREATE VIEW labels_current AS {schema.labels_current('labels', 'policy_activations')}")
        assert db.execute(query).fetchall() == []


def _duck(kind: str) -> str:
    kind = re.sub(r"ARRAY<(\w+)>", r"\1[]", kind)
    return re.sub(r"MAP<(.+)>", r"MAP(\1)", kind).replace("STRING", "VARCHAR")


# docs/configuration.md


class Key(NamedTuple):
    """A key of the configuration."""

    name: str
    default: Any
    annotation: Any


def keys(model: type[BaseModel] = RunConfig, prefix: str = "") -> Iterator[Key]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from keys(field.annotation, f"{prefix}{name}.")
        else:
            default = field.default_factory() if field.default_factory else field.default  # type: ignore[call-arg]
            yield Key(prefix + name, default, field.annotation)


def section_of(key: str) -> str:
    """The section of the page a key belongs to; what is nested deeper is in its outermost one."""
    return key.partition(".")[0] if "." in key else "Top level"


def documented() -> dict[str, list[str]]:
    found = [cells for text in sections(CONFIGURATION).values() for cells in rows(text, "key")]
    names = [cells[0] for cells in found]
    assert not doubled(names), f"docs/configuration.md: {doubled(names)} is there twice"
    return {cells[0]: cells for cells in found}


def default(key: Key) -> str:
    """A default as the page writes it: YAML, `null` for what is left open."""
    value = key.default
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(map(str, value)) + "]"
    return str(value) or '""'


def variable(key: str) -> str:
    return ENV_PREFIX + key.upper().replace(".", "__") + ("__<NAME>" if key in OPEN else "")


def words(annotation: Any) -> list[str]:
    """The words an enumeration knows, wherever it is in a type."""
    if isinstance(annotation, EnumType):
        return [str(word.value) for word in annotation]  # type: ignore[attr-defined]
    return [word for inner in get_args(annotation) for word in words(inner)]


@pytest.mark.parametrize("key", tuple(keys()), ids=lambda key: key.name)
def test_each_key_is_documented_with_its_default_variable_and_words(key: Key) -> None:
    section = section_of(key.name)
    row = f"| `{key.name}` | type | `{default(key)}` | `{variable(key.name)}` | meaning |"
    found = documented().get(key.name)
    assert found is not None, f"docs/configuration.md, section `{section}`: add the row\n{row}"
    assert len(found) == 5, (
        f"docs/configuration.md: the row of `{key.name}` has {len(found)} cells; it should be\n{row}"
    )
    _, kind, said, env, meaning = found
    assert said == f"`{default(key)}`", f"docs/configuration.md: the default of `{key.name}` is `{default(key)}`"
    assert env == f"`{variable(key.name)}`", (
        f"docs/configuration.md: the variable of `{key.name}` is {variable(key.name)}"
    )
    assert kind and meaning
    missing = [word for word in words(key.annotation) if f"`{word}`" not in kind]
    assert not missing, f"docs/configuration.md: the type of `{key.name}` should list {missing}"


def test_no_key_is_documented_that_is_not_there() -> None:
    gone = set(documented()) - {key.name for key in keys()}
    assert not gone, f"docs/configuration.md: remove {sorted(gone)}, the configuration has no such key"


def test_each_key_is_in_the_section_it_belongs_to() -> None:
    for heading, text in sections(CONFIGURATION).items():
        for name in (cells[0] for cells in rows(text, "key")):
            assert section_of(name) == heading, f"docs/configuration.md: `{name}` belongs to `{section_of(name)}`"
