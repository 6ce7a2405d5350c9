"""Options that several commands share, each declared once, and the configuration and files they lead to."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from safeguard_spark.config import LOG_LEVEL_VARIABLE
from safeguard_spark.errors import ConfigError, PolicyError

if TYPE_CHECKING:
    from safeguard_spark.config.model import RunConfig

DEBUG = "--debug"
LOG_LEVEL = "--log-level"
LOG_LEVELS = ("debug", "info", "warning", "error")
GLOBAL_HELP = (
    f"Anywhere on the command line: {DEBUG} shows the traceback of an error; {LOG_LEVEL} {'|'.join(LOG_LEVELS)} (or "
    f"{LOG_LEVEL_VARIABLE} in the environment) says what is logged on stderr, by default warnings and errors."
)
CONFIG_HELP = "Configuration file, for example conf/local.yaml."

Config = Annotated[Path, typer.Option("--config", help=CONFIG_HELP)]
OptionalConfig = Annotated[Path | None, typer.Option("--config", help=CONFIG_HELP)]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="key=value, takes precedence over the configuration; repeatable.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, as the last line of stdout.")]
Policies = Annotated[Path | None, typer.Option("--policies", help="The policies folder; default: policies.")]
Source = Annotated[str | None, typer.Option(help="Content: a Parquet or Delta path, or the name of a table.")]
IdColumn = Annotated[str | None, typer.Option(help="Column with the id of each content.")]
TextColumn = Annotated[str | None, typer.Option(help="Column of texts.")]
ConversationColumn = Annotated[str | None, typer.Option(help="Column of conversations: lists of (role, text) turns.")]
Output = Annotated[str | None, typer.Option(help="Where the label tables are: a folder or CATALOG.SCHEMA.")]


class SourceOptions(NamedTuple):
    """The options that say where content is, named as in the configuration."""

    location: str | None = None
    id_column: str | None = None
    text_column: str | None = None
    conversation_column: str | None = None


def author_config(
    file: Path | None, settings: Sequence[str] | None, policies: Path | None, *, engine: str | None = "scripted"
) -> "RunConfig":
    """The configuration of a command for policy authors; `engine` is the engine's kind if there is no file.

    Environment variables apply with and without a file. Raises ConfigError.
    """
    from safeguard_spark.config.load import apply_overrides, build_config, load_config, parse_assignment

    overrides: list[tuple[str, Any]] = [parse_assignment(text) for text in settings or []]
    if policies is not None:
        overrides.append(("policies", policies))
    if file is not None:
        return load_config(file, os.environ, overrides)
    values: dict[str, Any] = {"engine": {"kind": engine} if engine else {}}
    apply_overrides(values, os.environ, overrides)
    if not values["engine"]:
        raise ConfigError(
            "No engine is configured. Give --config FILE, or for example --set engine.kind=endpoint --set "
            "engine.url=http://localhost:8000 --set engine.model=openai/gpt-oss-safeguard-20b."
        )
    return build_config(values)


def table_config(
    file: Path,
    settings: Sequence[str] | None,
    output: str | None,
    source: SourceOptions | None = None,
    more: Mapping[str, Any] | None = None,
) -> "RunConfig":
    """The configuration of a command on tables. An option that is None leaves the file's value. Raises ConfigError."""
    from safeguard_spark.config.load import load_config, parse_assignment

    source = source or SourceOptions()
    options = {f"source.{name}": value for name, value in source._asdict().items()} | {"output": output, **(more or {})}
    overrides: list[tuple[str, Any]] = [parse_assignment(text) for text in settings or []]
    overrides += [(name, value) for name, value in options.items() if value is not None]
    # A content column on the command line replaces the other kind of content column in the file.
    if source.text_column and not source.conversation_column:
        overrides.append(("source.conversation_column", None))
    if source.conversation_column and not source.text_column:
        overrides.append(("source.text_column", None))
    return load_config(file, os.environ, overrides)


def find_policy_file(text: str, config: "RunConfig") -> Path:
    """The file of a policy reference; an alias is looked up in the registry. Raises PolicyError, ConfigError."""
    from safeguard_spark.policy.ref import Ref, locate_policy, policy_file, read_ref

    ref = read_ref(text)
    if not isinstance(ref, Ref) or not ref.tag or ref.is_version:
        return locate_policy(text, config.policies)
    from safeguard_spark.tracking.registry import resolve

    policy = resolve(text, config)
    file = policy_file(config.policies, policy.name, policy.version)
    if not file.is_file():
        raise PolicyError(f"{text} is {policy.ref}, which is published, but its file {file} does not exist.")
    return file
