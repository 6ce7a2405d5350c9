"""The reference pages are what `make docs` writes, and their examples run."""

import re
from pathlib import Path
from typing import Any

import duckdb
import pytest
from pydantic import BaseModel

from safeguard_spark import schema, views
from safeguard_spark.config.load import apply_overrides, build_config
from safeguard_spark.config.model import RunConfig
from safeguard_spark.labelling.verdict import Outcome
from tools import reference, rooms
from tools.marks import markdown_table, replace_blocks
from tools.schemas import schema_files

pytestmark = pytest.mark.unit

TABLES = rooms.ROOT / "docs/tables.md"
QUERIES = rooms.ROOT / "docs/queries.md"


def cells(table: str) -> list[list[str]]:
    """The rows of a Markdown table without its head, backticks off."""
    return [[cell.strip().strip("`") for cell in line.strip("| ").split("|")] for line in table.splitlines()[2:]]


def test_each_page_is_what_make_docs_writes() -> None:
    outdated = [str(path.relative_to(rooms.ROOT)) for path in reference.outdated(rooms.ROOT)]
    assert not outdated, f"run `make docs`: {outdated}"


def test_a_page_with_another_default_is_outdated_and_written_as_it_was(tmp_path: Path) -> None:
    for name in (*reference.blocks(), *schema_files()):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text((rooms.ROOT / name).read_text(encoding="utf-8"), encoding="utf-8")
    page = tmp_path / "docs/configuration.md"
    text = page.read_text(encoding="utf-8")
    page.write_text(text.replace("`20000`", "`500`"), encoding="utf-8")
    assert reference.outdated(tmp_path) == {page: text}


def test_only_what_is_between_the_marks_is_replaced() -> None:
    page = "before\n<!-- a -->\nold\n<!-- /a -->\nafter\n"
    assert replace_blocks(page, {"a": r"new \1"}) == "before\n<!-- a -->\nnew \\1\n<!-- /a -->\nafter\n"


@pytest.mark.parametrize("page", ["", "<!-- a -->\n", "<!-- a -->\n<!-- /a -->\n<!-- a -->\n<!-- /a -->\n"])
def test_a_page_without_the_marks_or_with_two_of_them_is_refused(page: str) -> None:
    with pytest.raises(ValueError, match="<!-- a --> and <!-- /a -->"):
        replace_blocks(page, {"a": "new"})


def test_a_pipe_in_a_cell_is_escaped() -> None:
    assert markdown_table(["a"], [["<|start|>"]]).splitlines()[2] == r"| <\|start\|> |"


def test_a_key_without_a_meaning_is_named() -> None:
    class Config(BaseModel):
        window: int = 1

    with pytest.raises(ValueError, match="window has no docstring"):
        reference.key_tables(Config.model_json_schema())


REQUIRED: dict[str, dict[str, Any]] = {
    "vllm": {"model": "m"},
    "endpoint": {"model": "m", "url": "http://a"},
    "scripted": {},
}


def test_each_variable_is_read_and_each_default_is_the_default() -> None:
    rows = [row for table in reference.key_tables(RunConfig.model_json_schema()).values() for row in cells(table)]
    assert len(rows) > 50
    for key, _, default, variable, meaning in rows:
        if variable.endswith("__<NAME>") or default == "required":
            continue
        about = meaning.partition("`: ")[0]
        for kind in [kind for kind in REQUIRED if re.fullmatch(f"(.*`)?{kind}(`.*)?", about)] or ["vllm"]:
            values: dict[str, Any] = {"engine": {"kind": kind, **REQUIRED[kind]}}
            before = build_config(values)
            apply_overrides(values, {variable: default}, [])
            assert build_config(values) == before, key


def test_every_outcome_is_explained_and_no_other() -> None:
    section = TABLES.read_text(encoding="utf-8").partition("| outcome |")[2].partition("\n\n")[0]
    explained = [line.split("|")[1].strip(" `") for line in section.splitlines()[2:]]
    assert sorted(explained) == sorted(Outcome), "docs/tables.md: one row per outcome"


def queries() -> list[str]:
    return re.findall(r"^```sql\n(.*?)^```", QUERIES.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("query", queries(), ids=lambda query: " ".join(query.split())[:60])
def test_each_example_query_runs_on_the_tables_as_they_are(query: str) -> None:
    with duckdb.connect() as db:
        for table in schema.TABLES:
            columns = ", ".join(f"{c.name} {_duck(c.type)}" for c in table.columns)
            db.execute(f"CREATE TABLE {table.name} ({columns})")
        db.execute(f"CREATE VIEW labels_current AS {views.labels_current('labels', 'policy_activations')}")
        for name, table in views.NEWEST_DOCUMENTS.items():
            db.execute(f"CREATE VIEW {name} AS {views.newest_documents(table, table.name)}")
        assert db.execute(query).fetchall() == []


def _duck(kind: str) -> str:
    kind = re.sub(r"ARRAY<(\w+)>", r"\1[]", kind)
    kind = re.sub(r"ARRAY<STRUCT<(.*)>>", lambda match: f"STRUCT({match[1].replace(':', '')})[]", kind)
    return re.sub(r"MAP<(.+)>", r"MAP(\1)", kind).replace("STRING", "VARCHAR")
