"""The page "Changing a policy" uses commands, options and keys that exist."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from safeguard_spark import schema
from safeguard_spark.cli import app
from safeguard_spark.relabel.scope import ScopeKind, parse_scope

pytestmark = pytest.mark.unit
PAGE = Path(__file__).parents[3] / "docs" / "changing-a-policy.md"


def commands() -> list[list[str]]:
    lines = re.findall(r"^\$ (safeguard .+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return [shlex.split(line)[1:] for line in lines]


def test_the_page_shows_the_commands_in_order() -> None:
    steps = [words[1] for words in commands() if words[0] == "relabel"]
    assert list(dict.fromkeys(steps)) == ["plan", "apply", "compare", "promote"]


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_option_of_the_page_exists(words: list[str]) -> None:
    command: Any = typer.main.get_command(app.app)
    while words and hasattr(command, "commands"):
        command, words = command.commands[words[0]], words[1:]
    options = {name for parameter in command.params for name in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options


def test_every_scope_of_the_page_is_parsed() -> None:
    scopes = re.findall(r"^\| `\"?([^`\"]+)\"?`(?: \(default\))? \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    kinds = [kind.value for kind in ScopeKind]
    parsed = [parse_scope(scope).kind.value for scope in scopes if scope.split(" ")[0] in kinds]
    assert sorted(parsed) == sorted(kinds)


def test_the_query_of_the_page_uses_existing_columns() -> None:
    query = re.findall(r"^```sql\nSELECT (.*?)\nFROM", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert set(query[0].replace("\n", " ").split(", ")) <= set(schema.LABELS.names)
