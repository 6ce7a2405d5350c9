"""Load a configuration: one YAML file, then environment variables, then `--set a.b=c`."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from safeguard_spark.config import LOG_FORMAT_VARIABLE, LOG_LEVEL_VARIABLE
from safeguard_spark.config.engine import DEFAULT_KIND, KINDS
from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import ConfigError
from safeguard_spark.policy.document import ENCODING
from safeguard_spark.policy.positions import InvalidYamlError, read_yaml
from safeguard_spark.suggest import closest_match
from safeguard_spark.value_problems import place_words, problem_words, value_words

ENV_PREFIX = "SAFEGUARD_"
FREE = ("spark.conf", "engine.env", "review.users")  # mappings whose keys are other programs' names, perhaps with dots
OPEN = tuple(f"{section}." for section in (*FREE, "engine.args", "source.options"))  # whose keys are not checked


def load_config(
    path: Path | None,
    environ: Mapping[str, str],
    overrides: Iterable[tuple[str, Any]],
    default_engine: str | None = "scripted",
) -> RunConfig:
    """Read `path`, then `SAFEGUARD_A__B` variables, then overrides (`a.b`, value). Raises ConfigError.

    Without a file, `default_engine` is the engine's kind; if it is None, the overrides must configure an engine.
    """
    values = _read_file(path) if path else {"engine": {"kind": default_engine} if default_engine else {}}
    apply_overrides(values, environ, overrides)
    if path is None and not values["engine"]:
        raise ConfigError(
            "No engine is configured. Give --config FILE, or for example --set engine.kind=endpoint --set "
            "engine.url=http://localhost:8000 --set engine.model=openai/gpt-oss-safeguard-20b."
        )
    return build_config(values)


def _read_file(path: Path) -> dict[str, Any]:
    try:
        document = read_yaml(path.read_text(encoding=ENCODING))
    except OSError as error:
        raise ConfigError(f"Configuration {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"Configuration {path} is not UTF-8 text (byte {error.start}): save it as UTF-8.") from error
    except InvalidYamlError as error:
        hint = f" ({error.hint})" if error.hint else ""
        where = f"line {error.span.line}, column {error.span.column}"
        raise ConfigError(f"Configuration {path}, {where}: {error}{hint}.") from error
    if document.duplicate_keys:
        key, span, _ = document.duplicate_keys[0]
        raise ConfigError(f"Configuration {path}, line {span.line}: `{key}` is there a second time; keep one of them.")
    if not isinstance(document.value, dict | None):
        raise ConfigError(f"Configuration {path} must be `key: value` lines, not {value_words(document.value)}.")
    return document.value or {}


def apply_overrides(values: dict[str, Any], environ: Mapping[str, str], overrides: Iterable[tuple[str, Any]]) -> None:
    """Set `SAFEGUARD_A__B` variables, then overrides (`a.b`, value), in nested values. Raises ConfigError."""
    keys, variables = set(_keys(RunConfig)), dict[str, Any]()
    for name, raw in environ.items():
        if name.startswith(ENV_PREFIX) and name not in (LOG_LEVEL_VARIABLE, LOG_FORMAT_VARIABLE):
            key = _dotted(name.removeprefix(ENV_PREFIX))
            if key not in keys and not key.startswith(OPEN):
                raise ConfigError(f"Environment variable {name}: {_unknown(key)}")
            variables[key] = parse_scalar(raw)
    set_values(values, variables.items())
    set_values(values, overrides)


def set_values(values: dict[str, Any], settings: Iterable[tuple[str, Any]]) -> None:
    """Set dotted names in nested `values`, which are of a lower level: a file below the environment below `--set`.

    Settings that change `engine.kind` leave out what `values` say of the other kind of engine. Raises ConfigError.
    """
    settings = list(settings)
    kind, engine = dict(settings).get("engine.kind"), values.get("engine")
    if isinstance(kind, str) and kind in KINDS and isinstance(engine, dict):
        values["engine"] = _of_kind(kind, engine)
    for name, value in settings:
        set_value(values, name, value)


def _of_kind(kind: str, engine: dict[str, Any]) -> dict[str, Any]:
    """What an `engine` section still says when its kind becomes `kind`."""
    before = engine.get("kind", DEFAULT_KIND)
    if before == kind:
        return engine
    foreign = {"args"}  # every kind has its own
    if "scripted" in (before, kind):
        foreign |= {"model", "model_name", "revision"}  # a script must not label in the name of a model
    return {name: value for name, value in engine.items() if name in KINDS[kind].model_fields.keys() - foreign}


def build_config(values: dict[str, Any]) -> RunConfig:
    """Build the configuration from nested values. Raises ConfigError naming every problem in one sentence."""
    try:
        config = RunConfig.model_validate(values)
        _ = config.config_hash
    except ValidationError as error:
        message = "; ".join(_message(problem) for problem in error.errors())
        raise ConfigError(f"Configuration: {message}{'' if message.endswith('?') else '.'}") from error
    except UnicodeEncodeError as error:
        raise ConfigError("Configuration: a value is not UTF-8 text.") from error
    return config


def with_settings(config: RunConfig, texts: Iterable[str]) -> RunConfig:
    """A configuration with each `key=value` set as by `--set`. Raises ConfigError."""
    values = config.model_dump(exclude_unset=True)
    set_values(values, [parse_assignment(text) for text in texts])
    return build_config(values)


def parse_assignment(text: str) -> tuple[str, Any]:
    """Parse a `--set` argument `a.b=c` to (name, value read as YAML). Raises ConfigError."""
    name, equals, raw = text.partition("=")
    if not equals or not name.strip():
        raise ConfigError(f"Setting {text}: write it as key=value, for example engine.window=256.")
    return name.strip(), parse_scalar(raw)


def parse_scalar(raw: str) -> Any:
    """Read a value of the command line or the environment as YAML; if it is not YAML, as plain text."""
    try:
        return yaml.safe_load(raw)
    except (yaml.YAMLError, ValueError, RecursionError):
        return raw


def set_value(values: dict[str, Any], name: str, value: Any) -> None:
    """Set the dotted `name` in nested `values`. Everything after a section of FREE is one key."""
    section = next((free for free in FREE if name.startswith(f"{free}.")), None)
    *path, last = [*section.split("."), name.removeprefix(f"{section}.")] if section else name.split(".")
    for key in path:
        inner = values.setdefault(key, {})
        if inner is None:
            inner = values[key] = {}
        if not isinstance(inner, dict):
            raise ConfigError(f"{name}: {key} is a value, not a section.")
        values = inner
    values[last] = value


def _dotted(variable: str) -> str:
    """`A__B` as `a.b`; the names of variables and of users keep their case."""
    for section in ("engine.env", "review.users"):
        prefix = section.upper().replace(".", "__") + "__"
        if variable.startswith(prefix):
            return f"{section}.{variable.removeprefix(prefix)}"
    return variable.lower().replace("__", ".")


def _message(problem: Any) -> str:
    path = list(problem["loc"])
    kind = path.pop(1) if path[0] == "engine" and len(path) > 1 else None
    where = ".".join(path) if all(isinstance(part, str) for part in path) else place_words(tuple(path))
    match problem["type"]:
        case "extra_forbidden":
            return _unknown(where, kind).removesuffix(".")
        case "missing" if kind:
            return f"engine.kind={kind} needs {where}"
        case _ if problem.get("input", "") is None and ":" in str((path or [""])[-1]):
            return f"{where} has no value: write a space after its colon"
        case "union_tag_invalid":
            where = "engine.kind"
        case "value_error":
            return str(problem["msg"]).removeprefix("Value error, ")
    return problem_words(problem, where)


def _unknown(key: str, kind: str | None = None) -> str:
    """The message for a key that does not exist, or that this kind of engine does not have.

    It suggests the key whose last part is most like it: one of the same section, else one of any section.
    """
    section, _, last = key.rpartition(".")
    keys = list(_keys(RunConfig, kind=kind))
    owners = [name for name in KINDS if key in _keys(RunConfig, kind=name)]
    message = f"there is no key {key}"
    if kind and owners:
        message = f"engine.kind={kind} has no key {key}, which is for {' and '.join(owners)}"
    same_section = [name for name in keys if name.rpartition(".")[0] == section]
    for candidates in (same_section, [] if owners else keys):
        by_last_part = {name.rpartition(".")[2]: name for name in reversed(candidates)}  # of equal parts the first key
        if match := closest_match(last, by_last_part):
            return f"{message}; did you mean {by_last_part[match]}?"
    return f"{message}."


def _keys(model: type[BaseModel], prefix: str = "", kind: str | None = None) -> Iterable[str]:
    """Every dotted key of a section; of the engine's section those of one kind, or of all kinds."""
    for name, field in model.model_fields.items():
        yield prefix + name
        for section in (field.annotation, *get_args(field.annotation)):
            is_other_kind = kind is not None and section in KINDS.values() and section is not KINDS[kind]
            if isinstance(section, type) and issubclass(section, BaseModel) and not is_other_kind:
                yield from _keys(section, f"{prefix}{name}.", kind)
