"""What the files in deploy/ say in our own words: configuration keys, variables, and commands with their options."""

import ast
import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
import yaml

from safeguard_spark.cli.app import USAGE, app
from safeguard_spark.config.load import apply_overrides, build_config, parse_assignment
from safeguard_spark.errors import ConfigError

VARIABLE = re.compile(r"\bSAFEGUARD_\w+")
ENGINE = {"engine": {"kind": "vllm", "model": "m"}}


def problems(file: Path) -> list[str]:
    """What a file says that this release does not know, or says in a wrong way."""
    text, found = file.read_text(encoding="utf-8"), list[str]()
    for variable in VARIABLE.findall(text):
        found += _problem(apply_overrides, {}, {variable: ""}, [])
    for values in _configurations(file, text):
        found += _problem(build_config, values)
    for words in _commands(file, text):
        found += _problem(_check_command, words)
    return found


def knows_something(file: Path) -> bool:
    """Whether a file has anything that could go stale."""
    text = file.read_text(encoding="utf-8")
    return bool(VARIABLE.search(text) or [*_configurations(file, text)] or [*_commands(file, text)])


def _problem(check: Any, *args: Any) -> list[str]:
    try:
        check(*args)
    except ConfigError as error:
        return [str(error)]
    except USAGE as error:
        return [error.format_message()]
    return []


def _check_command(words: list[str]) -> None:
    command, words = typer.main.get_command(app), list(words)
    while words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]  # type: ignore[attr-defined]
    if hasattr(command, "commands"):
        raise ConfigError(f"There is no command {words[0]}.")
    command.make_context("safeguard", [*words])  # which empties the list
    settings = [words[at + 1] for at, word in enumerate(words) if word == "--set" and "=" in words[at + 1]]
    values: dict[str, Any] = copy.deepcopy(ENGINE)
    apply_overrides(values, {}, [parse_assignment(text) for text in settings])
    build_config(values)


def _documents(file: Path, text: str) -> list[Any]:
    return [*yaml.safe_load_all(text)] if file.suffix in (".yaml", ".yml") else []


def _configurations(file: Path, text: str) -> Iterator[dict[str, Any]]:
    """Configurations as values: the file itself, or a part of a ConfigMap."""
    for document in _documents(file, text):
        if file.name == "conf.yaml":
            yield document
        elif document.get("kind") == "ConfigMap":
            yield yaml.safe_load(document["data"]["conf.yaml"])


def _commands(file: Path, text: str) -> Iterator[list[str]]:
    """The commands that a file starts, without `safeguard`. The name of a script in jobs/ is that of its command."""
    for document in _documents(file, text):
        for node in _mappings(document):
            script = node.get("mainApplicationFile") or node.get("python_file")
            if script:
                yield [Path(script).stem, *(node.get("arguments") or node["parameters"])]
            if isinstance(node.get("args"), list) and node["args"][:1] == ["safeguard"]:
                yield node["args"][1:]
    if file.suffix == ".py":
        for call in ast.walk(ast.parse(text)):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "run_job":
                words = [str(a.value) if isinstance(a, ast.Constant) else "1calls" for a in call.args]
                yield [*words, "--config", "conf.yaml", "--json"]
    if "spark-submit" in text and (settings := re.findall(r'"\$@" (--set \S+)', text)):
        yield ["label", "--config", "conf.yaml", *settings[0].split()]


def _mappings(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for part in value.values():
            yield from _mappings(part)
    elif isinstance(value, list):
        for part in value:
            yield from _mappings(part)
