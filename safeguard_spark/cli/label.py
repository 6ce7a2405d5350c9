"""The command that labels a table: label."""

from typing import TYPE_CHECKING, Annotated

import typer

from safeguard_spark.cli.options import Result, command, table_config
from safeguard_spark.cli.result_output import print_result
from safeguard_spark.errors import ConfigError

if TYPE_CHECKING:
    from safeguard_spark.config.model import RunConfig

labelling = typer.Typer()


@command(labelling, table_config)
def label(
    run: "RunConfig",
    policy: Annotated[list[str] | None, typer.Option(help="A file, name@version or name@alias; repeatable.")] = None,
    limit: Annotated[int | None, typer.Option(help="Label only this many contents, those with the lowest ids.")] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Read all rows, also those that did not change since they were labelled.")
    ] = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="Stay, and label what arrives, until SIGTERM or Ctrl-C.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and its cost; change nothing.")] = False,
) -> Result:
    """Label every content of a table, once per policy. Issue the same command again to resume."""
    from safeguard_spark import api

    options = {"source.limit": limit, "policy": policy or None}
    run = api.build_config(run.model_dump(), {name: value for name, value in options.items() if value is not None})
    if follow:
        if dry_run or full:
            raise ConfigError("--follow goes with neither --dry-run nor --full.")
        result = api.follow_table(run, on_result=print_result)
        return Result(result.to_json(), exit_code=result.exit_code)
    result = api.dry_run(run, full=full) if dry_run else api.label_table(run, full=full)
    print_result(result)
    return Result(result.to_json(), exit_code=result.exit_code)
