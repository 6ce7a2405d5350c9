"""A wrong command line: exit code 2, click's message on stderr, and with --json one object on stdout."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from safeguard_spark.cli.app import app
from tests.unit.commands import Safeguard

pytestmark = pytest.mark.unit


def json_commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of every command that has --json."""
    for name, inner in getattr(command, "commands", {}).items():
        yield from json_commands(inner, (*path, name))
    if any("--json" in parameter.opts for parameter in command.params):
        yield path


COMMANDS = list(json_commands(typer.main.get_command(app)))


def is_reported(safeguard: Safeguard, *argv: str) -> str:
    """Check how a wrong command line is reported; returns the message in the object of --json."""
    plain, ran = safeguard(*argv), safeguard(*argv, "--json")
    assert (plain.code, ran.code, plain.out) == (2, 2, "")
    result = json.loads(ran.out)
    message = result.pop("message")
    assert result == {"run_id": None, "status": "failed", "exit_code": 2}
    assert message in " ".join(ran.err.replace("│", "").split())
    return str(message)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_an_option_that_does_not_exist(safeguard: Safeguard, command: tuple[str, ...]) -> None:
    assert "--no-such-option" in is_reported(safeguard, *command, "--no-such-option")


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        (["label"], "--config"),
        (["verify"], "REF"),
        (["label", "--config", "conf.yaml", "--limit", "many"], "--limit"),
        (["publish", "--alias", "newest"], "newest"),
        (["relabel", "plan", "--config", "conf.yaml"], "--policy"),
        (["lable", "--config", "conf.yaml"], "lable"),
        (["maintain", "erse"], "erse"),
        (["list", "--log-level", "loud"], "loud"),
    ],
    ids=str,
)
def test_each_kind_of_mistake(safeguard: Safeguard, argv: list[str], part: str) -> None:
    assert part in is_reported(safeguard, *argv)
