"""Commands that show how a policy meets a model: verify runs its cases, show-prompt prints what the model would get."""

import json
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from safeguard_spark.authoring.cases import cases_path, load_cases
from safeguard_spark.authoring.check import check_file
from safeguard_spark.authoring.check_output import report_text
from safeguard_spark.authoring.checks.text import token_count
from safeguard_spark.authoring.diagnostics import Level, Report, nearest
from safeguard_spark.authoring.verify import Verification, verification_json, verify_policy
from safeguard_spark.authoring.verify_output import verification_text
from safeguard_spark.cli.policy_options import AsJson, Config, Policies, Settings, file_of, load_settings
from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import ExitCode, PolicyError
from safeguard_spark.labelling import prompt
from safeguard_spark.labelling.content import Content, from_text
from safeguard_spark.labelling.labeler import Labeler
from safeguard_spark.labelling.rows import LabelSpec, prepare
from safeguard_spark.labelling.verdict import Verdict
from safeguard_spark.tracking.registry import resolve

REF = "A file, name@version or name@alias; a bare name means its newest version."


def verify_policies(
    refs: Annotated[list[str], typer.Argument(help=REF, metavar="REF...")],
    config: Config = None,
    given: Settings = None,
    policies: Policies = None,
    as_json: AsJson = False,
) -> None:
    """Run a policy's cases through a model and report rule by rule.

    Exit code 7 if a case failed or, where the policy has a gate, if the gate is not met; 5 if the engine failed.
    """
    run = load_settings(config, given, policies, engine=None)
    files = [file_of(ref, run) for ref in refs]
    _refuse_errors(files)
    found = _verify(files, run)
    if as_json:
        typer.echo(json.dumps([verification_json(one) for one in found], ensure_ascii=False))
    else:
        typer.echo("\n".join(verification_text(one) for one in found), nl=False)
    codes = {one.exit_code for one in found}
    raise typer.Exit(ExitCode.engine if ExitCode.engine in codes else max(codes))


def _refuse_errors(files: Sequence[Path]) -> None:
    """Raise PolicyError for a policy whose own mistakes would make its cases fail, before a model is paid for."""
    errors = [d for file in files for d in check_file(file) if d.level is Level.error]
    if errors:
        typer.echo(report_text(Report(len(files), tuple(errors))), err=True)
        raise PolicyError("Nothing was asked of the model: correct the errors above first.")
    for file in files:
        cases = cases_path(file)
        if not cases.is_file() or not load_cases(cases):
            what = "has no cases" if cases.is_file() else "does not exist"
            raise PolicyError(f"{cases} {what}, so there is nothing to verify.")


def _verify(files: Sequence[Path], config: RunConfig) -> list[Verification]:
    from safeguard_spark.engines.factory import open_engine

    jobs = [(resolve(str(file), config), load_cases(cases_path(file))) for file in files]
    window = config.engine.requests_in_flight
    with open_engine(config.engine, run_id=f"verify-{secrets.token_hex(4)}", window=window, devices=[]) as engine:
        return [verify_policy(policy, cases, Labeler.of(config, policy), engine) for policy, cases in jobs]


def show_prompt(
    ref: Annotated[str, typer.Argument(help=REF)],
    text: Annotated[
        str | None, typer.Argument(help="The content; default: standard input.", show_default=False)
    ] = None,
    case: Annotated[str | None, typer.Option(help="Show the prompt of this case of the policy instead.")] = None,
    config: Config = None,
    given: Settings = None,
    policies: Policies = None,
    as_json: AsJson = False,
) -> None:
    """Print exactly what the model would get for a text, and how many tokens that is (on standard error)."""
    run = load_settings(config, given, policies)
    file = file_of(ref, run)
    policy = resolve(str(file), run)
    job = LabelSpec.of(run, policy)
    ready = prepare(job, _content(file, text, case))
    if isinstance(ready, Verdict):
        cause = f": {ready.error}" if ready.error else ""
        typer.echo(f"The model would not be asked. The outcome is {ready.outcome.value}{cause}.", err=True)
        if as_json:
            typer.echo(json.dumps({"policy": policy.ref, "outcome": ready.outcome.value, "error": ready.error}))
        return
    if as_json:
        typer.echo(json.dumps(_fields(ready, job), ensure_ascii=False))
        return
    typer.echo(_shown(ready))
    typer.echo(_counted(ready, job), err=True)


def _content(file: Path, text: str | None, case: str | None) -> Content:
    if case is not None:
        path = cases_path(file)
        listed = load_cases(path) if path.is_file() else ()
        found = next((one for one in listed if one.id == case), None)
        if found is None:
            raise PolicyError(f"{file} has no case {case}; {nearest(case, (one.id for one in listed))}")
        return found.content
    if text is not None:
        return from_text(text)
    if sys.stdin.isatty():
        typer.echo("Type the content, then Ctrl-D on an empty line.", err=True)
    return from_text(sys.stdin.buffer.read().removesuffix(b"\n"))


def _shown(ready: prompt.Prompt) -> str:
    if ready.token_ids is not None:
        return str(prompt.harmony_encoding().decode(ready.token_ids))
    return "\n\n".join(f"[{message['role']}]\n{message['content']}" for message in ready.messages)


def _fields(ready: prompt.Prompt, job: LabelSpec) -> dict[str, Any]:
    common = {"policy": job.policy.ref, "dialect": job.labeler.dialect.value}
    if ready.token_ids is None:
        return {**common, "messages": ready.messages}
    return {**common, "tokens": len(ready.token_ids), "token_ids": ready.token_ids, "prompt": _shown(ready)}


def _counted(ready: prompt.Prompt, job: LabelSpec) -> str:
    content = token_count(ready.user_text)
    if ready.token_ids is None:
        total = token_count(ready.policy_text) + content
        return (
            f"About {total:,} tokens by gpt-oss's vocabulary: {content:,} are the content. The model's own may differ."
        )
    total = len(ready.token_ids)
    effort = job.labeler.effort.value
    return f"{total:,} tokens at {effort} effort: {content:,} are the content, the rest is the same for every content."
