"""Options that the commands on tables share, each written once, and the configuration they lead to."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from safeguard_spark.config.load import load_config, parse_assignment
from safeguard_spark.config.model import RunConfig

Config = Annotated[Path, typer.Option(help="Configuration, for example conf/local.yaml.")]
Source = Annotated[str | None, typer.Option(help="Content: a Parquet or Delta path, or a table's name.")]
IdColumn = Annotated[str | None, typer.Option(help="Column that names each content.")]
TextColumn = Annotated[str | None, typer.Option(help="Column of texts.")]
Conversation = Annotated[str | None, typer.Option("--conversation-column", help="Column of (role, text) turns.")]
Output = Annotated[str | None, typer.Option(help="Where the label tables are: a folder or CATALOG.SCHEMA.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line of stdout.")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="key=value over the configuration.")]


class SourceOptions(NamedTuple):
    """The options that say where content is, named as in the configuration."""

    location: str | None = None
    id_column: str | None = None
    text_column: str | None = None
    conversation_column: str | None = None


def load_options(
    file: Path,
    settings: list[str] | None,
    output: str | None,
    content: SourceOptions | None = None,
    more: Mapping[str, Any] | None = None,
) -> RunConfig:
    """The configuration of a file with a command's options over it; None leaves the file's. Raises ConfigError."""
    source = content or SourceOptions()
    given = {f"source.{name}": value for name, value in source._asdict().items()} | {"output": output, **(more or {})}
    overrides: list[tuple[str, Any]] = [parse_assignment(text) for text in settings or []]
    overrides += [(name, value) for name, value in given.items() if value is not None]
    # One content column replaces another that the configuration names.
    if source.text_column and not source.conversation_column:
        overrides.append(("source.conversation_column", None))
    if source.conversation_column and not source.text_column:
        overrides.append(("source.text_column", None))
    return load_config(file, os.environ, overrides)
