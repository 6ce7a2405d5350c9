"""The reference tables of the documentation and the schemas for editors, written from the code.

By `make docs`, or `python -m tools.reference`.

With `--check` nothing is written; the exit code is 1 if a page is not what would be written.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from safeguard_spark import schema
from safeguard_spark.authoring.diagnostics import CHECKS
from safeguard_spark.config.engine import DEFAULT_KIND, KINDS, EngineConfig
from safeguard_spark.config.load import ENV_PREFIX, OPEN
from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import ExitCode
from tools import rooms
from tools.commands import command_reference
from tools.marks import markdown_table, replace_blocks
from tools.schemas import schema_files

REVIEW_TABLES = [
    schema.REVIEW_ITEMS,
    schema.DECISIONS,
    schema.GOLD,
    schema.EVALUATIONS,
    schema.SCREENS,
    schema.SCREEN_AUDITS,
]

JsonSchema = Mapping[str, Any]


def blocks() -> dict[str, dict[str, str]]:
    """Every page that has written blocks: its path, and the blocks by the name of their marks."""
    return {
        "README.md": {"exit codes": exit_code_table()},
        "docs/architecture.md": {"rooms": f"```\n{rooms.picture()}\n```"},
        "docs/commands.md": {"commands": command_reference()},
        "docs/configuration.md": key_tables(RunConfig.model_json_schema()),
        "docs/operations.md": {"exit codes": exit_code_table()},
        "docs/policy-format.md": {"checks": check_table()},
        **{page: table_page(tables) for page, tables in TABLE_PAGES.items()},
    }


TABLE_PAGES = {
    "docs/tables.md": [table for table in schema.TABLES if table not in REVIEW_TABLES],
    "docs/review-tables.md": REVIEW_TABLES,
}


def table_page(tables: Iterable[schema.Table]) -> dict[str, str]:
    """The blocks of a page that describes tables."""
    return {name: text for table in tables for name, text in table_blocks(table).items()}


def exit_code_table() -> str:
    """The exit codes of every command."""
    return markdown_table(["exit code", "meaning"], [[str(code.value), code.__doc__ or ""] for code in ExitCode])


def check_table() -> str:
    """The checks of `safeguard check`."""
    rows = [[f"`{code}`", check.level.value, check.summary] for code, check in CHECKS.items()]
    return markdown_table(["code", "level", "meaning"], rows)


def table_blocks(table: schema.Table) -> dict[str, str]:
    """The columns of a table, and its constraints if it has any."""
    columns = [[f"`{column.name}`", _escaped(column.type), column.comment] for column in table.columns]
    written = {f"columns {table.name}": markdown_table(["column", "type", "meaning"], columns)}
    if table.checks:
        constraints = [[f"`{name}`", f"`{condition}`"] for name, condition in table.checks]
        written[f"constraints {table.name}"] = markdown_table(["constraint", "condition"], constraints)
    return written


def _escaped(column_type: str) -> str:
    return column_type.replace("<", r"\<").replace(">", r"\>")


def key_tables(config: JsonSchema) -> dict[str, str]:
    """The keys of the configuration, a table for each section; `top level` has those that are in none."""
    tables: dict[str, list[list[str]]] = {}
    for key, value in _keys(config, config, ""):
        section = key.partition(".")[0] if "." in key else "top level"
        if "description" not in value:
            raise ValueError(f"{key} has no docstring in config/model.py; write what it means below the field")
        row = [f"`{key}`", type_words(value, config), f"`{default_text(value)}`", f"`{variable(key)}`"]
        tables.setdefault(section, []).append([*row, " ".join(value["description"].split())])
    head = ["key", "type", "default", "environment", "meaning"]
    return {f"keys {section}": markdown_table(head, rows) for section, rows in tables.items()}


def _keys(section: JsonSchema, config: JsonSchema, prefix: str) -> Iterator[tuple[str, JsonSchema]]:
    for name, value in section["properties"].items():
        resolved = _resolved(value, config)
        if "discriminator" in value:
            yield from _keys_by_kind(value, config, f"{prefix}{name}.")
        elif "properties" in resolved:
            yield from _keys(resolved, config, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _keys_by_kind(section: JsonSchema, config: JsonSchema, prefix: str) -> Iterator[tuple[str, JsonSchema]]:
    """The keys of a section that has a model for each kind; the meaning of a key names the kinds that have it."""
    about_kind = EngineConfig.model_fields["kind"].description
    yield f"{prefix}kind", {"enum": list(KINDS), "default": DEFAULT_KIND, "description": about_kind}
    kinds: dict[str, list[str]] = {}
    for kind, reference in section["discriminator"]["mapping"].items():
        for row in _keys(_resolved({"$ref": reference}, config), config, prefix):
            kinds.setdefault(json.dumps(row), []).append(f"`{kind}`")
    for written, names in kinds.items():
        key, value = json.loads(written)
        if "const" not in value:
            words = "" if len(names) == len(KINDS) else f"{', '.join(names)}: "
            yield key, {**value, "description": words + value["description"]}


def _resolved(value: JsonSchema, config: JsonSchema) -> JsonSchema:
    return config["$defs"][value["$ref"].rpartition("/")[2]] if "$ref" in value else value


def type_words(value: JsonSchema, config: JsonSchema) -> str:
    """A key's type in words; that a key may be null is seen by its default."""
    options = [_resolved(option, config) for option in value.get("anyOf", [value])]
    (typed,) = (option for option in options if option.get("type") != "null")
    if "enum" in typed:
        words = [f"`{word}`" for word in typed["enum"]]
        return f"{', '.join(words[:-1])} or {words[-1]}"
    if typed["type"] in ("integer", "number"):
        noun = "whole number" if typed["type"] == "integer" else "number"
        return str(typed["format"]) if "format" in typed else f"{noun}{_bounds(typed)}"
    of_mappings = "$ref" in typed.get("items", {})
    words_of = {
        "boolean": "`true` or `false`",
        "array": f"list of {'mappings' if of_mappings else 'texts'}",
        "object": "mapping",
        "string": "text",
    }
    return str(typed.get("format", words_of[typed["type"]]))


def _bounds(typed: JsonSchema) -> str:
    high = f" to {typed['maximum']:g}" if "maximum" in typed else ""
    if "minimum" in typed:
        return f" from {typed['minimum']:g}{high}"
    if typed["type"] == "integer":
        return f" from {typed['exclusiveMinimum'] + 1}{high}"
    return f" above {typed['exclusiveMinimum']:g}" + high.replace(" to ", ", up to ")


def default_text(value: JsonSchema) -> str:
    """A default as YAML writes it; `null` for what is left open, `{}` for a mapping, `required` if there is none."""
    default = value.get("default", {} if value.get("type") == "object" else "required")
    if default is None or isinstance(default, bool):
        return "null" if default is None else str(default).lower()
    return str(default) if default != "" else '""'


def variable(key: str) -> str:
    """The environment variable of a key."""
    return ENV_PREFIX + key.upper().replace(".", "__") + ("__<NAME>" if f"{key}." in OPEN else "")


def outdated(root: Path) -> dict[Path, str]:
    """The pages of a checkout that are not what the code says, and what they should be."""
    pages = {}
    for name, written in blocks().items():
        page = (root / name).read_text(encoding="utf-8")
        try:
            wanted = replace_blocks(page, written)
        except ValueError as error:
            raise SystemExit(f"{name}: {error}.") from error
        if wanted != page:
            pages[root / name] = wanted
    for name, text in schema_files().items():
        if not (root / name).is_file() or (root / name).read_text(encoding="utf-8") != text:
            pages[root / name] = text
    return pages


def main() -> int:
    """Write the pages, or with `--check` name those that are outdated; 1 if one is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a page is outdated")
    check = parser.parse_args().check
    pages = outdated(rooms.ROOT)
    for path, text in pages.items():
        if not check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        print(f"{path.relative_to(rooms.ROOT)}: {'outdated; run `make docs`' if check else 'written'}")
    return int(check and bool(pages))


if __name__ == "__main__":
    sys.exit(main())
