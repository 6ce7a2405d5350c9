"""The command line: `safeguard label`, `safeguard check` and the other commands.

Modules of this package import pydantic, MLflow, Spark and our own modules that do only inside the commands, so that
`safeguard --help` answers at once.
"""

import contextlib
import errno
import json
import logging
import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from safeguard_spark import __version__, run_context
from safeguard_spark.cli.doctor import diagnosis
from safeguard_spark.cli.evaluate import evaluation
from safeguard_spark.cli.label import labelling
from safeguard_spark.cli.logs import LOGGER, JsonLines, StandardError
from safeguard_spark.cli.maintain import maintain
from safeguard_spark.cli.options import DEBUG, GLOBAL_HELP, LOG_FORMAT, LOG_FORMATS, LOG_LEVEL, LOG_LEVELS
from safeguard_spark.cli.policy import policy
from safeguard_spark.cli.relabel import relabel
from safeguard_spark.cli.report import reporting
from safeguard_spark.cli.review import review
from safeguard_spark.cli.screen import screen
from safeguard_spark.config import LOG_FORMAT_VARIABLE, LOG_LEVEL_VARIABLE
from safeguard_spark.errors import ConfigError, ExitCode, SafeguardError
from safeguard_spark.terminal import in_own_lines

app = typer.Typer(
    name="safeguard",
    help="Label all content a platform ever stored, by policies that a model follows.",
    epilog=GLOBAL_HELP,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(policy)
app.add_typer(labelling)
app.add_typer(evaluation)
app.add_typer(reporting)
app.add_typer(diagnosis)
app.add_typer(maintain, name="maintain")
app.add_typer(relabel, name="relabel")
app.add_typer(review, name="review")
app.add_typer(screen, name="screen")
COMPLETION = "_SAFEGUARD_COMPLETE"  # what the shell sets to ask for completions
RESUMABLE = ("label", "evaluate", "relabel apply", "relabel compare", "relabel promote", "publish", "maintain")
"""The commands that keep what they have done when they are interrupted."""
STDOUT = 1
FULL = (errno.ENOSPC, errno.EDQUOT)
USAGE: Any = typer.BadParameter.__mro__[2]  # ClickException, which newer releases of Typer vendor


def _print_version(is_requested: bool) -> None:
    if is_requested:
        typer.echo(f"safeguard {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    pass


def main(argv: Sequence[str] | None = None) -> None:
    """The `safeguard` script."""
    if COMPLETION in os.environ:
        typer.main.get_command(app).main(prog_name="safeguard")
    run_context.ends_with_command = True
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # it was closed
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115  open until the process ends
    code = run_command(sys.argv[1:] if argv is None else argv)
    _is_read()
    sys.exit(code)


class LogOption(NamedTuple):
    """A value of an option for the log, and what gave it: the option or the environment."""

    source: str
    value: str

    def one_of(self, allowed: Sequence[str]) -> str:
        """The value, if it is one of these whatever the case of its letters. Raises ConfigError."""
        if self.value.lower() not in allowed:
            raise ConfigError(f"{self.source} {self.value}: give one of {', '.join(allowed)}.")
        return self.value.lower()


class GlobalOptions(NamedTuple):
    """A command line without the options that may stand anywhere on it, and these."""

    arguments: list[str]
    debug: bool
    log_level: LogOption
    log_format: LogOption
    as_json: bool


def run_command(argv: Sequence[str]) -> int:
    """Run one command and return its exit code. An error is a message on stderr; its traceback only with --debug."""
    options = _global_options(argv)
    is_main = threading.current_thread() is threading.main_thread()  # a notebook may call this in another one
    previous_handler, previous_stderr = signal.getsignal(signal.SIGTERM), sys.stderr
    try:
        if options.log_format.one_of(LOG_FORMATS) == "json":
            sys.stderr = JsonLines(previous_stderr)
            logging.captureWarnings(True)  # Python's, which would be lines of level INFO
        if is_main:
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
        _start_logging(options.log_level.one_of(LOG_LEVELS), tracebacks=options.debug)
        command = typer.main.get_command(app)
        _refuse_repeated(command, options.arguments)
        # Not `main`, which turns an interrupt into an exit code of its own.
        with command.make_context("safeguard", options.arguments) as context:
            command.invoke(context)
        return ExitCode.complete
    except typer.Exit as exit:
        return exit.exit_code
    except USAGE as error:
        error.message = error.message.replace("Value error, ", "")  # pydantic's, in Typer's message
        if not isinstance(sys.stderr, JsonLines):
            error.show(sys.stderr)  # with the usage
            return _print_json("failed", error.format_message(), ExitCode.usage, options)
        return _report("failed", f"Error: {error.format_message()}", ExitCode.usage, options)
    except (KeyboardInterrupt, typer.Abort):
        return _report("partial", _interrupted(options.arguments), ExitCode.partial, options)
    except Exception as error:
        if _is_interrupt(error):
            return _report("partial", _interrupted(options.arguments), ExitCode.partial, options)
        if isinstance(error, SafeguardError):
            return _report("failed", f"Error: {error}", error.exit_code, options)
        if isinstance(error, BrokenPipeError) and not _is_read():
            return ExitCode.unexpected
        if isinstance(error, OSError) and error.errno in FULL and not error.filename:
            return _report("failed", f"Error: {_cannot_write(error)}", ExitCode.unexpected, options)
        if problem := _spark_problem(error):
            return _report("failed", f"Error: {problem}", problem.exit_code, options)
        # Never the error's own text: it may quote a row. Spark's name of the error condition quotes no data.
        condition = getattr(error, "getCondition", lambda: None)()
        what = f"{type(error).__name__} ({condition})" if condition else type(error).__name__
        message = f"Unexpected {what}. Run again with {DEBUG} for the traceback."
        return _report("failed", f"Error: {message}", ExitCode.unexpected, options)
    finally:
        if isinstance(sys.stderr, JsonLines):
            sys.stderr.close()
            logging.captureWarnings(False)
        sys.stderr = previous_stderr
        if is_main:
            signal.signal(signal.SIGTERM, previous_handler)


def _is_interrupt(error: BaseException | None) -> bool:
    """Whether an error came of an interrupt: a signal to the process group ends Spark's JVM as well."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _interrupted(arguments: Sequence[str]) -> str:
    words = [argument for argument in arguments if not argument.startswith("-")]
    keeps_work = any(name in (" ".join(words[:1]), " ".join(words[:2])) for name in RESUMABLE)
    if keeps_work and "--dry-run" not in arguments:
        return "Interrupted. Issue the same command again to resume."
    return "Interrupted. There is nothing to resume: the same command begins anew."


def _cannot_write(error: OSError) -> str:
    return (
        f"Standard output, or a file, cannot be written: {error.strerror}. Make room, and issue the same command again."
    )


def _is_read() -> bool:
    """Whether standard output, once flushed, still has a reader: in a pipe, `head` ends before we do."""
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    poll = select.poll()
    poll.register(STDOUT, 0)
    has_reader = not any(event & select.POLLERR for _, event in poll.poll(0))
    if not has_reader:
        os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)  # for what Python flushes when it ends
    return has_reader


def _global_options(argv: Sequence[str]) -> GlobalOptions:
    arguments, debug = list[str](), False
    log = {
        LOG_LEVEL: LogOption(LOG_LEVEL_VARIABLE, os.environ.get(LOG_LEVEL_VARIABLE) or "warning"),
        LOG_FORMAT: LogOption(LOG_FORMAT_VARIABLE, os.environ.get(LOG_FORMAT_VARIABLE) or LOG_FORMATS[0]),
    }
    remaining = iter(argv)
    for argument in remaining:
        name, equals, value = argument.partition("=")
        if name in log:
            log[name] = LogOption(name, value if equals else next(remaining, ""))
        elif argument == DEBUG:
            debug = True
        else:
            arguments.append(argument)
    return GlobalOptions(arguments, debug, log[LOG_LEVEL], log[LOG_FORMAT], "--json" in argv)


def _refuse_repeated(command: Any, arguments: Sequence[str]) -> None:
    """Raise ConfigError for an option with one value that is there twice: the parser would keep only the last."""
    counts: dict[str, int] = {}
    remaining = iter(arguments)
    for argument in remaining:
        if argument == "--":
            return
        if argument in getattr(command, "commands", {}):
            command = command.commands[argument]
            continue
        name, equals, _ = argument.partition("=")
        option = next((p for p in command.params if name.startswith("-") and name in p.opts), None)
        if option is None or getattr(option, "is_flag", False) or option.multiple:
            continue
        if not equals:
            next(remaining, "")
        counts[name] = counts.get(name, 0) + 1
        if counts[name] > 1:
            raise ConfigError(f"{name} is there more than once, and takes one value: keep the one that is meant.")


def _start_logging(level: str, *, tracebacks: bool) -> None:
    """Log our own messages from `level` on, and those of libraries from warnings on."""
    logging.basicConfig(level=logging.WARNING, handlers=[StandardError(tracebacks=tracebacks)])
    logging.getLogger("safeguard_spark").setLevel(level.upper())


def _report(status: str, message: str, code: ExitCode, options: GlobalOptions) -> ExitCode:
    """Say why a command did not finish: a sentence on stderr, and the object of --json. Called in an `except`."""
    if isinstance(sys.stderr, JsonLines):
        trace = f"\n{traceback.format_exc()}" if options.debug else ""
        sys.stderr.write_object("ERROR", LOGGER, f"{message}{trace}")
    else:
        if options.debug:
            traceback.print_exc()
        print(in_own_lines(message), file=sys.stderr)
    return _print_json(status, message.removeprefix("Error: "), code, options)


def _print_json(status: str, message: str, code: ExitCode, options: GlobalOptions) -> ExitCode:
    if options.as_json:
        print(json.dumps({"run_id": None, "status": status, "exit_code": code, "message": message}))
    return code


def _spark_problem(error: Exception) -> SafeguardError | None:
    """The error to report in place of one of Spark's, or None."""
    if "pyspark" not in sys.modules:
        return None
    from safeguard_spark.spark.unreadable import problem_of

    return problem_of(error)
