"""The command line is one thing: the same options everywhere, whole summaries, completion, color on a terminal only."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from safeguard_spark import __version__
from safeguard_spark.cli.app import COMPLETION, app
from tests.unit.commands import Safeguard
from tests.unit.samples import CASES, POLICY, edited, write_policy

pytestmark = pytest.mark.unit


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that can be run, with its words."""
    inner = getattr(command, "commands", {})
    for name, sub in inner.items():
        yield from commands(sub, (*path, name))
    if not inner:
        yield path, command


# They read tables alone.
NO_POLICY = (("screen", "show"), ("screen", "retire"), ("review", "export"), ("review", "report"))
COMMANDS = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_json_and_every_one_that_reads_policies_has_the_folder(words: tuple[str, ...]) -> None:
    options = {option for parameter in COMMANDS[words].params for option in parameter.opts}
    assert "--json" in options
    assert ("--policies" in options) == (words[0] not in ("maintain", "sets", "report") and words not in NO_POLICY)


@pytest.mark.parametrize("words", [(), ("relabel",), *COMMANDS], ids=" ".join)
def test_help_has_a_short_form_and_cuts_no_summary(safeguard: Safeguard, words: tuple[str, ...]) -> None:
    short, long = safeguard(*words, "-h"), safeguard(*words, "--help")
    assert (short.code, short.out) == (0, long.out)
    assert not any(line.rstrip().endswith("...") and "Usage" not in line for line in long.out.splitlines())


def test_the_version_is_that_of_the_package(safeguard: Safeguard) -> None:
    assert safeguard("--version").out == f"safeguard {__version__}\n"
    module = subprocess.run([sys.executable, "-m", "safeguard_spark", "--version"], capture_output=True, text=True)
    assert (module.returncode, module.stdout) == (0, f"safeguard {__version__}\n")


@pytest.mark.parametrize(
    ("words", "position", "completions"),
    [("safeguard pub", 1, {"publish"}), ("safeguard maintain ", 2, {"erase", "optimize", "vacuum"})],
)
def test_a_shell_completes_commands(words: str, position: int, completions: set[str]) -> None:
    request = {COMPLETION: "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(position)}
    done = subprocess.run(
        [sys.executable, "-m", "safeguard_spark"], env={**os.environ, **request}, capture_output=True, text=True
    )
    assert set(done.stdout.split()) == completions


def test_a_terminal_has_color_and_a_pipe_has_none(tmp_path: Path) -> None:
    write_policy(tmp_path / "policies", edited(POLICY, ("are safe.", "are mostly safe.")))
    argv = [sys.executable, "-m", "safeguard_spark", "check"]
    assert b"\x1b[" not in subprocess.run(argv, cwd=tmp_path, capture_output=True, check=True).stdout
    for environ, is_colored in (({}, True), ({"NO_COLOR": "1"}, False)):
        ours, theirs = pty.openpty()
        with subprocess.Popen(argv, cwd=tmp_path, stdout=theirs, env={**os.environ, **environ}) as process:
            os.close(theirs)
            assert (b"\x1b[1;33mwarning[vague-word]\x1b[0m" in _all_of(ours)) is is_colored
        assert process.returncode == 0


def _all_of(terminal: int) -> bytes:
    text = b""
    try:
        while part := os.read(terminal, 4096):
            text += part
    except OSError:  # the other side of the terminal is closed
        pass
    finally:
        os.close(terminal)
    return text


@pytest.mark.parametrize(
    "argv",
    [
        ["list", "--policies", "a", "--policies=b"],
        ["label", "--source", "x", "--config", "c.yaml", "--source", "y"],
        ["relabel", "plan", "--from", "1.0.0", "--policy", "m", "--from=1.1.0", "--config", "c"],
        ["maintain", "erase", "--config", "a", "--ids", "1", "--ids", "2", "--config", "b"],
    ],
    ids=" ".join,
)
def test_an_option_of_one_value_that_is_there_twice_is_refused(safeguard: Safeguard, argv: list[str]) -> None:
    ran = safeguard(*argv)
    assert ran.code == 2
    assert "is there more than once, and takes one value: keep the one that is meant." in ran.err


def test_options_that_may_be_repeated_and_values_that_look_like_options_are_not_refused(safeguard: Safeguard) -> None:
    write_policy(Path("policies"))
    settings = ("--set", "engine.kind=scripted", "--set", "engine.window=2")
    assert safeguard("show-prompt", "market", "--case", "old-watch", *settings).code == 0
    assert safeguard("check", "--strict", "--strict").code == 0
    assert safeguard("show-prompt", "market", *settings, "--", "--case").code == 0


def test_two_versions_are_named_as_everywhere_or_by_a_name_and_two_versions(safeguard: Safeguard) -> None:
    write_policy(Path("policies"))
    write_policy(Path("policies"), edited(POLICY, ("1.0.0", "1.1.0"), ("are safe", "are fine")), version="1.1.0")
    short = safeguard("diff", "market", "1.0.0", "1.1.0")
    assert short.code == 0
    for before, after in (("market@1.0.0", "market"), ("policies/market/1.0.0", "policies/market/1.1.0/policy.md")):
        assert safeguard("diff", before, after) == short
    for wrong in (["market"], ["market", "1.0.0", "1.1.0", "1.2.0"]):
        ran = safeguard("diff", *wrong)
        assert (ran.code, ran.err.startswith("Error: diff compares two versions: safeguard diff NAME@OLD")) == (2, True)


def test_json_is_one_object_on_one_line_for_commands_of_authors_too(safeguard: Safeguard) -> None:
    created = json.loads(safeguard("new", "gifts", "--json").out)
    assert created == {"file": "policies/gifts/1.0.0/policy.md"}
    write_policy(Path("policies"), cases=edited(CASES, ("[M2]", "[M7]")))
    ran = safeguard("check", "market", "--json")
    (line,) = ran.out.splitlines()
    assert ran.code == 3
    assert [d["code"] for d in json.loads(line)["diagnostics"]] == ["unknown-case-rule", "untested-rule"]
