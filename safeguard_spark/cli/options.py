"""Commands and the options that several of them share: each option is declared once, on the function that reads it."""

import inspect
import json
import os
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from safeguard_spark.config import LOG_FORMAT_VARIABLE, LOG_LEVEL_VARIABLE
from safeguard_spark.errors import ConfigError, ExitCode, PolicyError
from safeguard_spark.whole_files import require_writable, write_files

if TYPE_CHECKING:
    from safeguard_spark.config.model import RunConfig

DEBUG = "--debug"
LOG_LEVEL = "--log-level"
LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMAT = "--log-format"
LOG_FORMATS = ("text", "json")
GLOBAL_HELP = (
    f"Anywhere on the command line: {DEBUG} shows the traceback of an error; {LOG_LEVEL} {'|'.join(LOG_LEVELS)} (or "
    f"{LOG_LEVEL_VARIABLE} in the environment) says what is logged on stderr, by default warnings and errors; "
    f"{LOG_FORMAT} json (or {LOG_FORMAT_VARIABLE}) makes each line on stderr a JSON object with the run and the chunk."
)
CONFIG_HELP = "Configuration file, for example conf/local.yaml."

Config = Annotated[Path, typer.Option("--config", help=CONFIG_HELP)]
OptionalConfig = Annotated[Path | None, typer.Option("--config", help=CONFIG_HELP)]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="key=value, takes precedence over the configuration; repeatable.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, as the last line of stdout.")]
Policies = Annotated[Path | None, typer.Option("--policies", help="The policies folder; default: policies.")]
Output = Annotated[str | None, typer.Option(help="Where the label tables are: a folder or CATALOG.SCHEMA.")]


def has_color() -> bool:
    """Whether standard output shows colors: a terminal, unless NO_COLOR is set (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def require_folder(file: Path | None, option: str = "--html") -> None:
    """Raise ConfigError before anything is paid for if a page cannot be written there."""
    if file is None:
        return
    try:
        if file.is_dir() or not file.absolute().parent.is_dir():
            what = "is a folder" if file.is_dir() else f"the folder {file.parent} does not exist"
            raise ConfigError(f"{option} {file}: {what}. Name a file in a folder that exists.")
        require_writable(file)
    except OSError as error:
        raise ConfigError(f"{option} {file} cannot be written: {error.strerror}. Name another file.") from error


class Result(NamedTuple):
    """What a command prints: with --json `value`, else `text`, and `note` on stderr. And its exit code.

    `pages`: by option a file to write, and its text.
    """

    value: Any = None
    text: str = ""
    exit_code: int = 0
    note: str = ""
    pages: Mapping[str, tuple[Path, str]] = {}


def _write_pages(result: Result) -> int:
    """Write the pages of a result; returns the exit code. A page that fails keeps nothing that was paid for back."""
    code = result.exit_code
    for option, (file, text) in result.pages.items():
        try:
            write_files({file: text})
        except OSError as error:
            typer.echo(
                f"Error: {option} {file} cannot be written: {error.strerror}. Only the page is missing.", err=True
            )
            code = code or ExitCode.usage
        else:
            typer.echo(f"Written: {file}", err=True)
    return code


def group(text: str) -> typer.Typer:
    """A group of commands with its help."""
    return typer.Typer(help=text, short_help=text, epilog=GLOBAL_HELP, no_args_is_help=True, rich_markup_mode=None)


def command(
    app: typer.Typer, read_config: Callable[..., "RunConfig"], name: str | None = None
) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """Add a function to `app` as a command: it is called with the configuration and with its own options.

    The command has the function's options, those of `read_config`, and `--json`.
    """

    def add(function: Callable[..., Result]) -> Callable[..., Result]:
        shared = inspect.signature(read_config).parameters
        _, *own = inspect.signature(function).parameters.values()
        json_option = inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=AsJson)

        def run(*, as_json: bool = False, **options: Any) -> None:
            config = read_config(**{option: options.pop(option) for option in shared})
            result = function(config, **options)
            code = _write_pages(result)
            text = json.dumps(result.value, ensure_ascii=False) + "\n" if as_json else result.text
            typer.echo(text, nl=False)
            if result.note and not as_json:
                typer.echo(result.note, err=True)
            raise typer.Exit(code)

        parameters = [*own, *shared.values(), json_option]
        parameters.sort(key=lambda parameter: parameter.default is not inspect.Parameter.empty)  # required ones first
        keywords = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
        run.__signature__ = inspect.Signature(keywords)  # type: ignore[attr-defined]  # Typer reads the options here
        run.__annotations__ = {}
        text = inspect.getdoc(function) or ""
        # Without one of its own, the list of commands would cut the first sentence at the width of the screen.
        summary = " ".join(text.partition("\n\n")[0].split())
        app.command(name or function.__name__, help=text, short_help=summary)(run)
        return function

    return add


def folder_config(policies: Policies = None, config: OptionalConfig = None) -> "RunConfig":
    """The configuration of a command on policy files. Raises ConfigError."""
    return author_config(policies, config)


def author_config(policies: Policies = None, config: OptionalConfig = None, settings: Settings = None) -> "RunConfig":
    """The configuration of a command for policy authors. Without a file the engine is a script. Raises ConfigError."""
    return load_options(config, settings, {"policies": policies})


def engine_config(policies: Policies = None, config: OptionalConfig = None, settings: Settings = None) -> "RunConfig":
    """The configuration of a command that calls a model. Raises ConfigError, also if no engine is configured."""
    return load_options(config, settings, {"policies": policies}, default_engine=None)


def output_config(config: Config, output: Output = None, settings: Settings = None) -> "RunConfig":
    """The configuration of a command on label tables. Raises ConfigError."""
    return load_options(config, settings, {"output": output})


def console_config(
    config: Config,
    output: Output = None,
    policies: Policies = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0: any free one.")] = None,
    settings: Settings = None,
) -> "RunConfig":
    """The configuration of the review console. Raises ConfigError."""
    return load_options(config, settings, {"output": output, "policies": policies, "review.port": port})


def table_config(
    config: Config,
    source: Annotated[str | None, typer.Option(help="Content: a path, a table or a view (docs/sources.md).")] = None,
    id_column: Annotated[str | None, typer.Option(help="Column of ids, or SQL.")] = None,
    text_column: Annotated[str | None, typer.Option(help="Column of texts, or SQL.")] = None,
    conversation_column: Annotated[str | None, typer.Option(help="Column of conversations, or SQL.")] = None,
    output: Output = None,
    policies: Policies = None,
    settings: Settings = None,
) -> "RunConfig":
    """The configuration of a command on content and label tables. Raises ConfigError."""
    options = {"source.location": source, "source.id_column": id_column, "output": output, "policies": policies}
    columns = {"source.text_column": text_column, "source.conversation_column": conversation_column}
    # A content column on the command line replaces the other kind of content column in the file.
    return load_options(config, settings, options, columns if any(columns.values()) else {})


def table_options(context: typer.Context) -> str:
    """The options of `table_config` that stand on a command line, as another command takes them."""
    parts = list[str]()
    for option in context.command.params:
        if option.name in inspect.signature(table_config).parameters and option.name in context.params:
            value = context.params[option.name]
            for one in value if isinstance(value, list | tuple) else [] if value is None else [value]:
                parts += [option.opts[0], shlex.quote(str(one))]
    return " ".join(parts)


def load_options(
    file: Path | None,
    settings: Settings,
    options: Mapping[str, Any],
    columns: Mapping[str, str | None] | None = None,
    default_engine: str | None = "scripted",
) -> "RunConfig":
    """The configuration in a file, then the environment, `settings`, the options that are not None, and `columns`."""
    from safeguard_spark.config.load import load_config, parse_assignment

    overrides = [parse_assignment(text) for text in settings or []]
    overrides += [(name, value) for name, value in options.items() if value is not None]
    overrides += (columns or {}).items()
    return load_config(file, os.environ, overrides, default_engine)


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
