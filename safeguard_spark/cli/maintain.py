"""Commands that maintain the label tables: maintain erase, optimize, vacuum."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from safeguard_spark.cli.options import Result, command, group, output_config
from safeguard_spark.cli.result_output import print_message
from safeguard_spark.errors import ConfigError
from safeguard_spark.terminal import counted

if TYPE_CHECKING:
    from safeguard_spark.config.model import RunConfig

maintain = group("Maintain the label tables.")


@command(maintain, output_config)
def erase(
    run: "RunConfig",
    ids: Annotated[list[str] | None, typer.Option(help="Content ids, separated by commas; repeatable.")] = None,
    ids_file: Annotated[Path | None, typer.Option(help="A file with one content id per line; - for stdin.")] = None,
    collection: Annotated[
        str | None, typer.Option(help="Only in this collection (source.name); default: in all that have the ids.")
    ] = None,
    vacuum: Annotated[
        bool, typer.Option("--vacuum", help="Delete the files too, and with them every older version of the tables.")
    ] = False,
) -> Result:
    """Remove contents from the label tables, with what the model wrote about them.

    Exit code 6 if a running job may write them again: issue the same command again.
    """
    content_ids = [id for listed in ids or [] for id in listed.split(",") if id] + _read_ids(ids_file)
    if not content_ids:
        raise ConfigError("No content ids: give --ids A,B or --ids-file FILE.")
    from safeguard_spark.spark.maintain.erase import erase_contents
    from safeguard_spark.spark.session import session

    done = erase_contents(session(run), run, content_ids, collection=collection, vacuum=vacuum)
    removed = ", ".join(f"{count:,} from {name}" for name, count in done.rows.items())
    print_message(f"{counted(done.ids, 'id', 'ids')} requested, {done.found:,} with labels. Rows removed: {removed}.")
    listed = ", ".join(f"{count:,} in {name}" for name, count in done.collections.items() if name != collection)
    if collection is None and len(done.collections) > 1:
        print_message(f"These ids are in {len(done.collections)} collections, and were erased in each: {listed}.")
    elif collection is not None and listed:
        print_message(f"Ids that other collections have too, where they were not erased: {listed}.")
    if done.shared:
        print_message(
            f"{counted(done.shared, 'other id has', 'other ids have')} the same content: what the model wrote about it "
            "stays until all are erased."
        )
    if done.exports:
        print_message(f"Exports of the review console deleted: {done.exports:,}. Write them again with review export.")
    print_message(done.console)
    if done.vacuumed:
        print_message("The files that held them are deleted, and so are older versions of these tables.")
    elif done.under_way:
        print_message(f"Running jobs that may write these rows again: {', '.join(done.under_way)}.")
        print_message("Issue the same command again when they have ended.")
    else:
        print_message(
            "Older versions of the tables still hold them: --vacuum deletes those now, `maintain vacuum` after the "
            "retention."
        )
    print_message("Contents that are still in the source are labelled again by the next run: remove them there too.")
    return Result(done.to_json(), exit_code=done.status.exit_code)


@command(maintain, output_config)
def optimize(run: "RunConfig") -> Result:
    """Compact small files."""
    from safeguard_spark.spark.maintain.files import optimize_tables
    from safeguard_spark.spark.session import session

    files = optimize_tables(session(run), run)
    print_message("Files compacted: " + ", ".join(f"{count:,} of {name}" for name, count in files.items()) + ".")
    return Result({"status": "complete", "files": files})


@command(maintain, output_config)
def vacuum(run: "RunConfig") -> Result:
    """Delete files that no version within the tables' retention (30 days) needs."""
    from safeguard_spark.spark.maintain.files import vacuum_tables
    from safeguard_spark.spark.session import session

    vacuum_tables(session(run), run)
    print_message("Files that only versions older than the retention needed are deleted.")
    return Result({"status": "complete"})


def _read_ids(file: Path | None) -> list[str]:
    """The ids in a file, one per line; a line is an id as it is, blank lines are skipped. Raises ConfigError."""
    if file is None:
        return []
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--ids-file {file} cannot be read: {error.strerror}. Name a file of ids.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"--ids-file {file} is not UTF-8 text. Save it as UTF-8, an id on each line.") from error
    return [line.removesuffix("\r") for line in text.split("\n") if line.strip()]
