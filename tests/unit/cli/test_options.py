"""Options take precedence over the configuration file, and their defaults are those of the functions they reach."""

import inspect
import shlex
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from safeguard_spark.authoring.new import FIRST_VERSION
from safeguard_spark.cli.options import Result, command, group, table_config, table_options
from safeguard_spark.cli.policy import import_pack
from safeguard_spark.cli.relabel import plan
from safeguard_spark.relabel.scope import DEFAULT_SHARE, ScopeKind

pytestmark = pytest.mark.unit


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "conf.yaml").write_text(
        "engine: {kind: scripted}\noutput: there\nsource: {location: a, id_column: id, text_column: body}\n"
    )
    return tmp_path / "conf.yaml"


def test_an_option_takes_precedence_over_the_file_and_an_absent_one_keeps_its_value(file: Path) -> None:
    unchanged = table_config(file)
    assert (unchanged.output, unchanged.source.location, unchanged.source.text_column) == ("there", "a", "body")
    changed = table_config(file, "b", "key", output="here", settings=["run.chunk_rows=7"])
    assert (changed.output, changed.source.location, changed.source.id_column) == ("here", "b", "key")
    assert (changed.source.text_column, changed.run.chunk_rows) == ("body", 7)


def test_a_content_column_replaces_one_of_the_other_kind(file: Path) -> None:
    conversations = table_config(file, conversation_column="turns").source
    assert (conversations.text_column, conversations.conversation_column) == (None, "turns")
    texts = table_config(file, text_column="words", settings=["source.conversation_column=turns"]).source
    assert (texts.text_column, texts.conversation_column) == ("words", None)


def test_defaults_that_the_command_line_repeats_are_those_of_the_modules_it_does_not_import() -> None:
    planned = inspect.signature(plan).parameters
    assert (planned["scope"].default, planned["share"].default) == (ScopeKind.touched.value, DEFAULT_SHARE)
    assert inspect.signature(import_pack).parameters["version"].default == FIRST_VERSION


def test_the_options_of_a_command_are_those_of_the_next_one(file: Path) -> None:
    app = group("A group.")

    @command(app, table_config)
    def first(run: object, context: typer.Context, scope: str = "all") -> Result:
        return Result(text=table_options(context))

    @command(app, table_config)
    def second(run: object, context: typer.Context) -> Result:
        return Result(text=table_options(context))

    given = [*("--config", str(file)), *("--set", "labeler.effort='high'"), "--id-column", "concat(a, '/', b)"]
    printed = CliRunner().invoke(app, ["first", "--scope", "touched", *given, "--set", "run.chunk_rows=7", "--json"])
    assert printed.exit_code == 0, printed.output
    text = CliRunner().invoke(app, ["first", *given, "--set", "run.chunk_rows=7"]).output
    assert "--scope" not in text and "--json" not in text
    assert CliRunner().invoke(app, ["second", *shlex.split(text)]).output == text
    assert text.count("--set") == 2 and str(file) in text
