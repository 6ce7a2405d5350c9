"""The command line: `safeguard label`, `safeguard check` and the other commands.

Modules of this package import pydantic, MLflow, Spark and our own modules that do only inside the commands, so that
`safeguard --help` answers at once.
"""

import json
import logging
import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import Any

import typer

from safeguard_spark.cli.label import add_label_command
from safeguard_spark.cli.maintain import add_maintain_commands
from safeguard_spark.cli.options import DEBUG, DEBUG_HELP
from safeguard_spark.cli.policy import add_policy_commands
from safeguard_spark.cli.relabel import add_relabel_commands
from safeguard_spark.errors import ExitCode, SafeguardError

app = typer.Typer(
    name="safeguard",
    help="Label all content a platform ever stored, by policies that a model follows.",
    epilog=DEBUG_HELP,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
add_policy_commands(app)
add_label_command(app)
add_maintain_commands(app)
add_relabel_commands(app)
USAGE: Any = typer.BadParameter.__mro__[2]  # ClickException, which newer releases of Typer vendor


def main(argv: Sequence[str] | None = None) -> None:
    """The `safeguard` script."""
    code = run_command(sys.argv[1:] if argv is None else argv)
    sys.stdout.flush()
    sys.exit(code)


def run_command(argv: Sequence[str]) -> int:
    """Run one command and return its exit code. An error is a message on stderr; its traceback only with --debug."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(message)s")
    debug = DEBUG in argv
    previous_handler = signal.getsignal(signal.SIGTERM)
    try:
        signal.signal(signal.SIGTERM, _interrupt)
        arguments = [argument for argument in argv if argument != DEBUG]
        return int(typer.main.get_command(app).main(arguments, prog_name="safeguard", standalone_mode=False) or 0)
    except typer.Exit as exit:
        return exit.exit_code
    except USAGE as error:
        error.show(sys.stderr)
        return ExitCode.usage
    except (KeyboardInterrupt, typer.Abort):
        print("Interrupted. Issue the same command again to resume.", file=sys.stderr)
        return ExitCode.partial
    except SafeguardError as error:
        if debug:
            traceback.print_exc()
        return _report_failure(str(error), error.exit_code, as_json="--json" in argv)
    except Exception as error:
        if debug:
            traceback.print_exc()
        # Never the error's own text: it may quote a row.
        message = f"Unexpected {type(error).__name__}{_condition(error)}. Run again with {DEBUG} for the traceback."
        return _report_failure(message, ExitCode.unexpected, as_json="--json" in argv)
    finally:
        signal.signal(signal.SIGTERM, previous_handler)


def _report_failure(message: str, code: ExitCode, *, as_json: bool) -> ExitCode:
    print(f"Error: {message}", file=sys.stderr)
    if as_json:
        from safeguard_spark.result import Status

        print(json.dumps({"run_id": None, "status": Status.failed.value, "exit_code": code, "message": message}))
    return code


def _condition(error: Exception) -> str:
    """Spark's name of the error condition, which quotes no data."""
    condition = getattr(error, "getCondition", lambda: None)()
    return f" ({condition})" if condition else ""


def _interrupt(number: int, frame: FrameType | None) -> Any:  # noqa: ARG001  the signature is signal's
    raise KeyboardInterrupt
