"""The command that labels a table: label."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from safeguard_spark.cli.options import (
    AsJson,
    Config,
    ConversationColumn,
    IdColumn,
    Output,
    Settings,
    Source,
    SourceOptions,
    TextColumn,
    table_config,
)
from safeguard_spark.cli.result_output import print_result
from safeguard_spark.errors import ConfigError

if TYPE_CHECKING:
    from safeguard_spark.config.model import RunConfig
    from safeguard_spark.result import RunResult


def add_label_command(app: typer.Typer) -> None:
    """Add `label` to an application."""
    app.command()(label)


def label(
    config: Config,
    source: Source = None,
    id_column: IdColumn = None,
    text_column: TextColumn = None,
    conversation_column: ConversationColumn = None,
    policy: Annotated[list[str] | None, typer.Option(help="A file, name@version or name@alias; repeatable.")] = None,
    output: Output = None,
    limit: Annotated[int | None, typer.Option(help="Label only this many contents, those with the lowest ids.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and its cost; change nothing.")] = False,
    as_json: AsJson = False,
    settings: Settings = None,
) -> None:
    """Label every content of a table, once per policy. Issue the same command again to resume."""
    content = SourceOptions(source, id_column, text_column, conversation_column)
    run = table_config(config, settings, output, content, {"source.limit": limit, "policy": policy or None})
    result = _label(run, plan_only=dry_run)
    print_result(result)
    if as_json:
        print(json.dumps(result.to_json()), flush=True)
    raise typer.Exit(result.exit_code)


def _label(config: "RunConfig", *, plan_only: bool) -> "RunResult":
    if not config.policy:
        raise ConfigError("No policy: give --policy FILE, NAME@VERSION or NAME@ALIAS, or policy in the configuration.")
    from safeguard_spark.api import dry_run, label_table

    return dry_run(config) if plan_only else label_table(config)
