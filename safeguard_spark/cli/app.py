"""The command line: `safeguard label`, `safeguard check` and their kin."""

import json
import logging
import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import Annotated, Any

import typer

from safeguard_spark import api
from safeguard_spark.cli.maintain import add_maintain_commands
from safeguard_spark.cli.policy import add_policy_commands
from safeguard_spark.cli.relabel import add_relabel_commands
from safeguard_spark.cli.result_output import print_result
from safeguard_spark.cli.table_options import (
    AsJson,
    Config,
    IdColumn,
    Output,
    Settings,
    Source,
    SourceOptions,
    TextColumn,
    load_options,
)
from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import ConfigError, ExitCode, SafeguardError
from safeguard_spark.result import RunResult, Status

app = typer.Typer(
    name="safeguard",
    help="Policy-driven labelling of everything a platform ever stored. Any command takes --debug: show tracebacks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
add_policy_commands(app)
add_maintain_commands(app)
add_relabel_commands(app)
USAGE: Any = typer.BadParameter.__mro__[2]  # ClickException, of which newer releases of Typer hold their own


@app.command()
def label(
    config: Config,
    source: Source = None,
    id_column: IdColumn = None,
    text_column: TextColumn = None,
    conversation_column: Annotated[str | None, typer.Option(help="Column of lists of (role, text) turns.")] = None,
    policy: Annotated[list[str] | None, typer.Option(help="A file, name@version or name@alias; repeatable.")] = None,
    output: Output = None,
    limit: Annotated[int | None, typer.Option(help="Label only this many contents, those of the lowest ids.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done and cost, and stop.")] = False,
    as_json: AsJson = False,
    settings: Settings = None,
) -> None:
    """Give every content of a table one label per policy. Issue the same command again to go on."""
    content = SourceOptions(source, id_column, text_column, conversation_column)
    more = {"source.limit": limit, "policy": policy or None}
    result = _label(load_options(config, settings, output, content, more), dry_run=dry_run)
    print_result(result)
    if as_json:
        print(json.dumps(result.to_json()), flush=True)
    raise typer.Exit(result.exit_code)


def _label(config: RunConfig, *, dry_run: bool) -> RunResult:
    if not config.policy:
        raise ConfigError("No policy: give --policy FILE, NAME@VERSION or NAME@ALIAS, or policy in the configuration.")
    return api.dry_run(config) if dry_run else api.label_table(config)


def main(argv: Sequence[str] | None = None) -> None:
    """The `safeguard` script."""
    code = run_command(sys.argv[1:] if argv is None else argv)
    sys.stdout.flush()
    sys.exit(code)


def run_command(argv: Sequence[str]) -> int:
    """Run one command and return its exit code. Errors are one sentence on stderr; a traceback only with --debug."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(message)s")
    debug = "--debug" in argv
    before = signal.getsignal(signal.SIGTERM)
    try:
        signal.signal(signal.SIGTERM, _stop)
        given = [word for word in argv if word != "--debug"]
        return int(typer.main.get_command(app).main(given, prog_name="safeguard", standalone_mode=False) or 0)
    except typer.Exit as ended:
        return ended.exit_code
    except USAGE as error:
        error.show(sys.stderr)
        return ExitCode.usage
    except (KeyboardInterrupt, typer.Abort):
        print("Stopped by the operator; issue the same command again to go on.", file=sys.stderr)
        return ExitCode.partial
    except SafeguardError as error:
        if debug:
            traceback.print_exc()
        return _failed(str(error), error.exit_code, as_json="--json" in argv)
    except Exception as error:
        if debug:
            traceback.print_exc()
        # Never the error's own text: it may quote a row.
        said = f"Unexpected {type(error).__name__}{_condition(error)}. Run again with --debug for the traceback."
        return _failed(said, ExitCode.unexpected, as_json="--json" in argv)
    finally:
        signal.signal(signal.SIGTERM, before)


def _failed(message: str, code: int, *, as_json: bool) -> int:
    print(f"Error: {message}", file=sys.stderr)
    if as_json:
        print(json.dumps({"run_id": None, "status": Status.failed.value, "exit_code": code, "message": message}))
    return code


def _condition(error: Exception) -> str:
    """Spark's name for what went wrong, which quotes nothing."""
    condition = getattr(error, "getCondition", lambda: None)()
    return f" ({condition})" if condition else ""


def _stop(number: int, frame: FrameType | None) -> Any:  # noqa: ARG001  the signature is signal's
    raise KeyboardInterrupt
