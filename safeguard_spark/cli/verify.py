"""Commands that show what a policy does to a model: verify runs its cases, show-prompt prints a prompt."""

import json
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from safeguard_spark.cli.options import (
    AsJson,
    OptionalConfig,
    Policies,
    Settings,
    author_config,
    find_policy_file,
)
from safeguard_spark.errors import PolicyError

if TYPE_CHECKING:
    from safeguard_spark.authoring.verify import Verification
    from safeguard_spark.config.model import RunConfig
    from safeguard_spark.labelling.content import Content

REF = "A file, name@version or name@alias; a bare name means its newest version."


def verify_policies(
    refs: Annotated[list[str], typer.Argument(help=REF, metavar="REF...")],
    config: OptionalConfig = None,
    settings: Settings = None,
    policies: Policies = None,
    as_json: AsJson = False,
) -> None:
    """Run a policy's cases through a model and report rule by rule.

    Exit code 7 if a case failed or, where the policy has a gate, if the gate is not met; 5 if the engine failed.
    """
    from safeguard_spark.authoring.check_output import report_text
    from safeguard_spark.authoring.verify import (
        overall_exit_code,
        require_cases,
        verification_errors,
        verification_json,
    )
    from safeguard_spark.authoring.verify_output import verification_text

    run = author_config(config, settings, policies, engine=None)
    files = [find_policy_file(ref, run) for ref in refs]
    report = verification_errors(files)
    if report.errors:
        typer.echo(report_text(report), err=True)
        raise PolicyError("The model was not called. Correct the errors above, then verify again.")
    require_cases(files)
    verifications = _verify(files, run)
    if as_json:
        typer.echo(json.dumps([verification_json(v) for v in verifications], ensure_ascii=False))
    else:
        typer.echo("\n".join(verification_text(v) for v in verifications), nl=False)
    raise typer.Exit(overall_exit_code(verifications))


def _verify(files: Sequence[Path], config: "RunConfig") -> "list[Verification]":
    from safeguard_spark.authoring.cases import cases_path, load_cases
    from safeguard_spark.authoring.verify import verify_policy
    from safeguard_spark.engines.factory import open_engine
    from safeguard_spark.labelling.labeler import Labeler
    from safeguard_spark.tracking.registry import resolve

    inputs = [(resolve(str(file), config), load_cases(cases_path(file))) for file in files]
    window = config.engine.requests_in_flight
    with open_engine(config.engine, run_id=f"verify-{secrets.token_hex(4)}", window=window, devices=[]) as engine:
        return [verify_policy(policy, cases, Labeler.of(config, policy), engine) for policy, cases in inputs]


def show_prompt(
    ref: Annotated[str, typer.Argument(help=REF)],
    text: Annotated[
        str | None, typer.Argument(help="The content; default: standard input.", show_default=False)
    ] = None,
    case: Annotated[str | None, typer.Option(help="Show the prompt of this case of the policy instead.")] = None,
    config: OptionalConfig = None,
    settings: Settings = None,
    policies: Policies = None,
    as_json: AsJson = False,
) -> None:
    """Print exactly what the model would receive for a text, and on standard error how many tokens it has."""
    from safeguard_spark.authoring.prompt_output import prompt_json, prompt_text, token_counts
    from safeguard_spark.labelling.rows import LabelSpec, prepare
    from safeguard_spark.labelling.verdict import Verdict
    from safeguard_spark.tracking.registry import resolve

    run = author_config(config, settings, policies)
    file = find_policy_file(ref, run)
    policy = resolve(str(file), run)
    spec = LabelSpec.of(run, policy)
    prepared = prepare(spec, _content(file, text, case))
    if isinstance(prepared, Verdict):
        cause = f": {prepared.error}" if prepared.error else ""
        typer.echo(f"The model would not be called. The outcome is {prepared.outcome.value}{cause}.", err=True)
        if as_json:
            typer.echo(json.dumps({"policy": policy.ref, "outcome": prepared.outcome.value, "error": prepared.error}))
        return
    if as_json:
        typer.echo(json.dumps(prompt_json(prepared, spec), ensure_ascii=False))
        return
    typer.echo(prompt_text(prepared))
    typer.echo(token_counts(prepared, spec), err=True)


def _content(file: Path, text: str | None, case_id: str | None) -> "Content":
    from safeguard_spark.authoring.cases import find_case
    from safeguard_spark.labelling.content import from_text

    if case_id is not None:
        return find_case(file, case_id).content
    if text is not None:
        return from_text(text)
    if sys.stdin.isatty():
        typer.echo("Type the content, then Ctrl-D on an empty line.", err=True)
    return from_text(sys.stdin.buffer.read().removesuffix(b"\n"))
