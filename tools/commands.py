"""The reference of the command line, written from the commands themselves."""

from collections.abc import Iterator, Mapping
from typing import Any

import typer

from safeguard_spark.cli.app import app
from safeguard_spark.cli.options import GLOBAL_HELP
from tools.marks import markdown_table

SHARED = (
    "--config", "--set", "--output", "--policies", "--source", "--id-column", "--text-column", "--conversation-column",
)  # fmt: skip
HIDDEN = ("help", "as_json")  # which all have


def command_reference() -> str:
    """A section for each command: what it does, its arguments and its options."""
    commands = dict(leaf_commands(typer.main.get_command(app)))
    shared = {option.opts[0]: option for option in commands["label",].params if option.opts[0] in SHARED}
    rows = [_row(shared[name]) for name in SHARED]
    head = f"{GLOBAL_HELP} Every command takes --json, which prints its result as an object in the last line of stdout."
    parts = [head, f"Options that several commands have:\n\n{markdown_table(['option', 'meaning'], rows)}"]
    return "\n\n".join(parts + [_section(path, command, shared) for path, command in commands.items()])


def _section(path: tuple[str, ...], command: Any, shared: Mapping[str, Any]) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and p.name not in HIDDEN]
    names = [_name(argument) if argument.required else f"[{_name(argument)}]" for argument in arguments]
    known = [option.opts[0] for option in options if _is_shared(option, shared)]
    usage = f"`{' '.join(['safeguard', *path, *names])}`" + (
        f", with {', '.join(f'`{name}`' for name in known)}" if known else ""
    )
    rows = [[f"`{_name(argument)}`", _text(argument.help)] for argument in arguments]
    rows += [_row(option) for option in options if not _is_shared(option, shared)]
    table = markdown_table(["option", "meaning"], rows) if rows else ""
    return "\n\n".join(filter(None, [f"## {' '.join(path)}", _text(command.help), usage, table]))


def _is_shared(option: Any, shared: Mapping[str, Any]) -> bool:
    """Whether an option means what it means for `label`."""
    known = shared.get(option.opts[0])
    return known is not None and _text(known.help) == _text(option.help)


def leaf_commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command below one, with the words that a user types for it."""
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, below in sorted(command.commands.items()):
        yield from leaf_commands(below, (*path, name))


def _row(option: Any) -> list[str]:
    return [", ".join(f"`{name}`" for name in option.opts), _text(option.help)]


def _name(argument: Any) -> str:
    return argument.metavar or str(argument.name).upper()


def _text(text: str | None) -> str:
    return " ".join((text or "").split())
