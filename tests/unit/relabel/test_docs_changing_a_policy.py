"""The page "Changing a policy" uses commands, options and keys that there are."""

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
    found = re.findall(r"^\$ (safeguard .+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return [shlex.split(line)[1:] for line in found]


def test_the_page_goes_from_a_plan_to_a_roll_back() -> None:
    verbs = [words[1] for words in commands() if words[0] == "relabel"]
    assert list(dict.fromkeys(verbs)) == ["plan", "apply", "compare", "promote"]


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_option_of_the_page_is_one(words: list[str]) -> None:
    command: Any = typer.main.get_command(app.app)
    while words and hasattr(command, "commands"):
        command, words = command.commands[words[0]], words[1:]
    known = {name for parameter in command.params for name in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


def test_every_scope_of_the_page_is_read() -> None:
    scopes = re.findall(r"^\| `\"?([^`\"]+)\"?`(?: \(default\))? \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    kinds = [kind.value for kind in ScopeKind]
    read = [parse_scope(scope).kind.value for scope in scopes if scope.split(" ")[0] in kinds]
    assert sorted(read) == sorted(kinds)


def test_the_query_of_the_page_names_columns_there_are() -> None:
    query = re.findall(r"^```sql\nSELECT (.*?)\nFROM", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert set(query[0].replace("\n", " ").split(", ")) <= set(schema.LABELS.names)
