"""Options that the policy commands share, and the configuration and files they lead to."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from safeguard_spark.config.load import apply_overrides, build_config, load_config, parse_assignment
from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import ConfigError, PolicyError
from safeguard_spark.policy import ref as policy_ref
from safeguard_spark.policy.ref import Ref, locate_policy, policy_file
from safeguard_spark.tracking.registry import resolve

Policies = Annotated[Path | None, typer.Option("--policies", help="The policies folder; default: policies.")]
Config = Annotated[Path | None, typer.Option("--config", help="Configuration, for example conf/local.yaml.")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="key=value over the configuration; repeatable.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def load_settings(
    file: Path | None, given: Sequence[str] | None, policies: Path | None, *, engine: str | None = "scripted"
) -> RunConfig:
    """The configuration of a command's options. Without a file, `engine` is the kind of engine it names.

    Raises ConfigError. Environment variables count either way.
    """
    overrides: list[tuple[str, Any]] = [parse_assignment(text) for text in given or []]
    if policies is not None:
        overrides.append(("policies", policies))
    if file is not None:
        return load_config(file, os.environ, overrides)
    values: dict[str, Any] = {"engine": {"kind": engine} if engine else {}}
    apply_overrides(values, os.environ, overrides)
    if not values["engine"]:
        raise ConfigError(
            "Which engine shall answer? Give --config FILE, or for example --set engine.kind=endpoint --set "
            "engine.url=http://localhost:8000 --set engine.model=openai/gpt-oss-safeguard-20b."
        )
    return build_config(values)


def file_of(text: str, config: RunConfig) -> Path:
    """The file of a reference; an alias is asked of the registry. Raises PolicyError, ConfigError."""
    ref = policy_ref.read_ref(text)
    if isinstance(ref, Ref) and ref.tag and not ref.is_version:
        policy = resolve(text, config)
        file = policy_file(config.policies, policy.name, policy.version)
        if not file.is_file():
            raise PolicyError(f"{text} is {policy.ref}, which is published but has no file {file}.")
        return file
    return locate_policy(text, config.policies)
