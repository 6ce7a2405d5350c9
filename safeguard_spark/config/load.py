"""Load a configuration: one YAML file, then environment variables, then `--set a.b=c`."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import ConfigError
from safeguard_spark.policy.document import ENCODING
from safeguard_spark.suggest import closest_match

ENV_PREFIX = "SAFEGUARD_"
FREE = ("spark.conf", "engine.env")  # mappings whose keys are other programs' names and may contain dots
OPEN = ("spark.conf.", "engine.env.", "engine.args.")  # sections whose keys are not checked


def load_config(path: Path, environ: Mapping[str, str], overrides: Iterable[tuple[str, Any]]) -> RunConfig:
    """Read `path`, then `SAFEGUARD_A__B` variables, then overrides (`a.b`, value). Raises ConfigError."""
    try:
        values = yaml.safe_load(path.read_text(encoding=ENCODING))
    except OSError as error:
        raise ConfigError(f"Configuration {path} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # not UTF-8; no such date; brackets never closed
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise ConfigError(f"Configuration {path} is not valid YAML{where}.") from error
    values = {} if values is None else values
    if not isinstance(values, dict):
        raise ConfigError(f"Configuration {path} must be `key: value` lines, not a {type(values).__name__}.")
    apply_overrides(values, environ, overrides)
    return build_config(values)


def apply_overrides(values: dict[str, Any], environ: Mapping[str, str], overrides: Iterable[tuple[str, Any]]) -> None:
    """Set `SAFEGUARD_A__B` variables, then overrides (`a.b`, value), in nested values. Raises ConfigError."""
    keys = set(_keys(RunConfig))
    for name, raw in environ.items():
        if name.startswith(ENV_PREFIX):
            key = _dotted(name.removeprefix(ENV_PREFIX))
            if key not in keys and not key.startswith(OPEN):
                raise ConfigError(f"Environment variable {name}: {_unknown(key)}")
            set_value(values, key, parse_scalar(raw))
    for name, value in overrides:
        set_value(values, name, value)


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
    """Set the dotted `name` in nested `values`. Everything after `spark.conf.` or `engine.env.` is one key."""
    *path, last = _parts(name)
    for key in path:
        inner = values.setdefault(key, {})
        if inner is None:
            inner = values[key] = {}
        if not isinstance(inner, dict):
            raise ConfigError(f"{name}: {key} is a value, not a section.")
        values = inner
    values[last] = value


def _parts(name: str) -> list[str]:
    section = next((free for free in FREE if name.startswith(f"{free}.")), None)
    return name.split(".") if section is None else [*section.split("."), name.removeprefix(f"{section}.")]


def _dotted(variable: str) -> str:
    """`A__B` as `a.b`; a key of `engine.env` keeps its case."""
    section, free, key = variable.partition("ENGINE__ENV__")
    return f"engine.env.{key}" if free and not section else variable.lower().replace("__", ".")


def _message(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return _unknown(where).removesuffix(".")
    if problem["type"] == "missing":
        return f"{where} is missing"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{where}: {message}" if where and problem["type"] != "value_error" else message


def _unknown(key: str) -> str:
    suggestion = _closest_key(key)
    return f"there is no key {key}" + (f"; did you mean {suggestion}?" if suggestion else ".")


def _closest_key(unknown: str) -> str | None:
    """The key to suggest, by its last part: one of the same section, else one of any section."""
    section, _, last = unknown.rpartition(".")
    keys = list(_keys(RunConfig))
    for candidates in ([key for key in keys if key.rpartition(".")[0] == section], keys):
        by_last_part = {key.rpartition(".")[2]: key for key in reversed(candidates)}  # of equal parts the first key
        if match := closest_match(last, by_last_part):
            return by_last_part[match]
    return None


def _keys(model: type[BaseModel], prefix: str = "") -> Iterable[str]:
    for name, field in model.model_fields.items():
        yield prefix + name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _keys(field.annotation, f"{prefix}{name}.")
