"""Commands that look after the label tables: maintain erase, optimize, vacuum."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from safeguard_spark.cli.table_options import AsJson, Config, Output, Settings, load_options
from safeguard_spark.errors import ConfigError

maintain = typer.Typer(help="Look after the label tables.", no_args_is_help=True, rich_markup_mode=None)

Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]


def add_maintain_commands(app: typer.Typer) -> None:
    """Add `maintain` to an application."""
    app.add_typer(maintain, name="maintain")


@maintain.command()
def erase(
    config: Config,
    ids: Annotated[list[str] | None, typer.Option(help="Content ids, with commas between; repeatable.")] = None,
    ids_file: Annotated[Path | None, typer.Option(help="A file with one content id per line; - for stdin.")] = None,
    output: Output = None,
    vacuum: Annotated[
        bool, typer.Option("--vacuum", help="Remove the files too, and every older version of the tables.")
    ] = False,
    as_json: AsJson = False,
    settings: Settings = None,
    debug: Debug = False,  # noqa: ARG001  read in cli.main
) -> None:
    """Remove contents from the labels and what the model said of them. Issue it again if it says so."""
    named = [id for listed in ids or [] for id in listed.split(",") if id] + _listed(ids_file)
    if not named:
        raise ConfigError("No content ids: give --ids A,B or --ids-file FILE.")
    run = load_options(config, settings, output)
    from safeguard_spark.spark.maintain.erase import erase_contents
    from safeguard_spark.spark.session import session

    done = erase_contents(session(run), run, named, vacuum=vacuum)
    removed = ", ".join(f"{count:,} from {name}" for name, count in done.rows.items())
    _say(f"{done.ids:,} ids asked for, {done.found:,} of them had labels. Rows removed: {removed}.")
    if done.shared:
        _say(f"{done.shared:,} other ids have the same content: what the model said of it stays until they go too.")
    if done.vacuumed:
        _say("The files that held them are gone, and so are older versions of these tables.")
    elif done.under_way:
        _say(f"Under way and able to write them again: {', '.join(done.under_way)}.")
        _say("Issue the same command again when it has ended.")
    else:
        _say("Older versions still hold them: --vacuum removes those now, `maintain vacuum` after the retention.")
    _say("A content that is still in its source is labelled again by the next run: remove it there as well.")
    if as_json:
        print(json.dumps(done.to_json()), flush=True)
    raise typer.Exit(done.exit_code)


@maintain.command()
def optimize(
    config: Config, output: Output = None, as_json: AsJson = False, settings: Settings = None,
    debug: Debug = False,  # noqa: ARG001  read in cli.main
) -> None:  # fmt: skip
    """Put small files together."""
    run = load_options(config, settings, output)
    from safeguard_spark.spark.maintain.files import optimize_tables
    from safeguard_spark.spark.session import session

    files = optimize_tables(session(run), run)
    _say("Files put together: " + ", ".join(f"{count:,} of {name}" for name, count in files.items()) + ".")
    if as_json:
        print(json.dumps({"status": "complete", "files": files}), flush=True)


@maintain.command()
def vacuum(
    config: Config, output: Output = None, settings: Settings = None,
    debug: Debug = False,  # noqa: ARG001  read in cli.main
) -> None:  # fmt: skip
    """Remove files that no version within the tables' retention (30 days) needs."""
    run = load_options(config, settings, output)
    from safeguard_spark.spark.maintain.files import vacuum_tables
    from safeguard_spark.spark.session import session

    vacuum_tables(session(run), run)
    _say("Files that only versions past the retention needed are gone.")


def _listed(file: Path | None) -> list[str]:
    """Ids of a file, one per line as they are; blank lines are none. Raises ConfigError."""
    if file is None:
        return []
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--ids-file {file} cannot be read as UTF-8 text.") from error
    return [line.removesuffix("\r") for line in text.split("\n") if line.strip()]


def _say(text: str) -> None:
    print(text, file=sys.stderr)
