"""Commands for policy authors: check, new, import, list, diff, publish. Verify and show-prompt are in `cli_verify`."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from safeguard_spark.authoring import pack
from safeguard_spark.authoring.cases import cases_path, load_cases
from safeguard_spark.authoring.check import check_paths
from safeguard_spark.authoring.check_output import REPORT_FORMATS, report_text
from safeguard_spark.authoring.diff import diff_json, diff_policies
from safeguard_spark.authoring.diff_output import diff_text
from safeguard_spark.authoring.listing import list_versions, listing_text
from safeguard_spark.authoring.new import FIRST_VERSION, create_policy
from safeguard_spark.authoring.pack import write_pack
from safeguard_spark.authoring.publish import publication_json, publication_text, publish_all, publish_candidates
from safeguard_spark.cli import verify as cli_verify
from safeguard_spark.cli.policy_options import AsJson, Config, Policies, Settings, file_of, load_settings
from safeguard_spark.errors import ConfigError, PolicyError
from safeguard_spark.policy.document import load_policy
from safeguard_spark.policy.ref import all_policy_files, no_policies_error
from safeguard_spark.tracking.registry import Alias


class Format(StrEnum):
    """How `check` shows problems: for people, for programs, as GitHub's annotations."""

    text = "text"
    json = "json"
    github = "github"


def add_policy_commands(app: typer.Typer) -> None:
    """Add every command for policy authors to an application, at its top level."""
    for name, command in (
        ("check", check_policies),
        ("verify", cli_verify.verify_policies),
        ("show-prompt", cli_verify.show_prompt),
        ("diff", diff_versions),
        ("new", new_policy),
        ("import", import_pack),
        ("list", list_policies),
        ("publish", publish_policies),
    ):
        app.command(name)(command)


def check_policies(
    paths: Annotated[
        list[str] | None, typer.Argument(help="Files, folders of policies, or names; default: all.", show_default=False)
    ] = None,
    policies: Policies = None,
    config: Config = None,
    output: Annotated[Format, typer.Option("--format", help="How to show problems.")] = Format.text,
    strict: Annotated[bool, typer.Option("--strict", help="Fail on warnings too.")] = False,
) -> None:
    """Show every problem of every policy, where it stands. Exit code 3 if there are errors."""
    run = load_settings(config, None, policies)
    if not paths and not run.policies.is_dir():
        raise no_policies_error(run.policies)
    found = [Path(p) if Path(p).is_dir() else file_of(p, run) for p in paths or [str(run.policies)]]
    report = check_paths(found)
    typer.echo(REPORT_FORMATS[output](report), nl=False)
    raise typer.Exit(report.exit_code(strict))


def diff_versions(
    name: Annotated[str, typer.Argument(help="The policy's name.")],
    before: Annotated[str, typer.Argument(help="A version, an alias, or a file.", metavar="A")],
    after: Annotated[str, typer.Argument(help="A version, an alias, or a file.", metavar="B")],
    policies: Policies = None,
    config: Config = None,
    given: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Show what changed between two versions, rule by rule, behaviour and text apart."""
    run = load_settings(config, given, policies)
    files = [file_of(side if Path(side).exists() else f"{name}@{side}", run) for side in (before, after)]
    old, new = (load_policy(file) for file in files)
    old_cases, new_cases = (load_cases(cases_path(f)) if cases_path(f).is_file() else () for f in files)
    found = diff_policies(old, new, (old_cases, new_cases))
    typer.echo(json.dumps(diff_json(found), ensure_ascii=False) + "\n" if as_json else diff_text(found), nl=False)


def new_policy(
    name: Annotated[str, typer.Argument(help="A new name, or name@version for the next version of a policy.")],
    policies: Policies = None,
    config: Config = None,
) -> None:
    """Begin a policy from a template, or its next version from the newest one below it."""
    file = create_policy(name, load_settings(config, None, policies).policies)
    typer.echo(f"Wrote {file} and {cases_path(file).name} beside it. Edit them, then: safeguard check {file}")


def import_pack(
    path: Annotated[Path, typer.Argument(help="A policy pack's folder, or a policy's text file.")],
    golden: Annotated[Path | None, typer.Option(help="The golden set as CSV, if it is not in the folder.")] = None,
    name: Annotated[str | None, typer.Option(help="The policy's name; default: from the pack.")] = None,
    version: Annotated[str, typer.Option(help="The policy's version.")] = FIRST_VERSION,
    policies: Policies = None,
    config: Config = None,
) -> None:
    """Make a policy of ours from a pack written for gpt-oss-safeguard elsewhere, and check it."""
    folder = load_settings(config, None, policies).policies
    imported = pack.read_pack(path, golden=golden, name=name, version=version)
    file = write_pack(imported, folder)
    typer.echo(f"Wrote {file}.")
    for note in imported.notes:
        typer.echo(f"  - {note}")
    typer.echo()
    report = check_paths([file])
    typer.echo(report_text(report), nl=False)
    if report.errors:
        typer.echo(f"The policy can be read, but correct the errors above before it is used: safeguard check {file}")


def list_policies(
    name: Annotated[str | None, typer.Argument(help="Only this policy.", show_default=False)] = None,
    policies: Policies = None,
    config: Config = None,
    given: Settings = None,
    as_json: AsJson = False,
) -> None:
    """List policies and versions, whether they are published, and the aliases that stand for them."""
    found = list_versions(load_settings(config, given, policies), name)
    typer.echo(json.dumps([item._asdict() for item in found]) + "\n" if as_json else listing_text(found), nl=False)


def publish_policies(
    refs: Annotated[
        list[str] | None,
        typer.Argument(help="Files, names or name@version; default: every policy.", show_default=False),
    ] = None,
    alias: Annotated[Alias | None, typer.Option(help="Let this alias stand for the newest version given.")] = None,
    lock_only: Annotated[bool, typer.Option("--lock-only", help="Pin in lock.json; leave MLflow alone.")] = False,
    policies: Policies = None,
    config: Config = None,
    given: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Register policies in MLflow and pin them in lock.json. Doing it again changes nothing."""
    if alias and lock_only:
        raise ConfigError("An alias lives in MLflow: leave out either --alias or --lock-only.")
    run = load_settings(config, given, policies)
    found = publish_candidates([file_of(ref, run) for ref in refs] if refs else all_policy_files(run.policies))
    if found.refused.diagnostics:
        typer.echo(report_text(found.refused), err=True)
        raise PolicyError("Nothing was published: correct what is shown above first.")
    done = publish_all(found.ready, run, alias=alias, registry=not lock_only)
    typer.echo(json.dumps(publication_json(done)) + "\n" if as_json else publication_text(done), nl=False)
