"""Commands for policy authors: check, new, import, list, diff, publish. Verify and show-prompt are in `verify`."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from safeguard_spark.cli.options import (
    AsJson,
    OptionalConfig,
    Policies,
    Settings,
    author_config,
    find_policy_file,
)
from safeguard_spark.cli.verify import show_prompt, verify_policies
from safeguard_spark.errors import ConfigError, PolicyError
from safeguard_spark.policy.alias import Alias


class Format(StrEnum):
    """How `check` prints problems: for people, for programs, as GitHub annotations."""

    text = "text"
    json = "json"
    github = "github"


def add_policy_commands(app: typer.Typer) -> None:
    """Add every command for policy authors to an application, at its top level."""
    for name, command in (
        ("check", check_policies),
        ("verify", verify_policies),
        ("show-prompt", show_prompt),
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
    config: OptionalConfig = None,
    output: Annotated[Format, typer.Option("--format", help="How to print problems.")] = Format.text,
    strict: Annotated[bool, typer.Option("--strict", help="Fail on warnings too.")] = False,
) -> None:
    """Show every problem of every policy, with file, line and column. Exit code 3 if there are errors."""
    from safeguard_spark.authoring.check import check_paths
    from safeguard_spark.authoring.check_output import REPORT_FORMATS
    from safeguard_spark.policy.ref import no_policies_error

    run = author_config(config, None, policies)
    if not paths and not run.policies.is_dir():
        raise no_policies_error(run.policies)
    files = [Path(p) if Path(p).is_dir() else find_policy_file(p, run) for p in paths or [str(run.policies)]]
    report = check_paths(files)
    typer.echo(REPORT_FORMATS[output](report), nl=False)
    raise typer.Exit(report.exit_code(strict))


def diff_versions(
    name: Annotated[str, typer.Argument(help="The policy's name.")],
    before: Annotated[str, typer.Argument(help="A version, an alias, or a file.", metavar="A")],
    after: Annotated[str, typer.Argument(help="A version, an alias, or a file.", metavar="B")],
    policies: Policies = None,
    config: OptionalConfig = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Show what changed between two versions, rule by rule: first behavior, then text."""
    from safeguard_spark.authoring.cases import cases_path, load_cases
    from safeguard_spark.authoring.diff import diff_json, diff_policies
    from safeguard_spark.authoring.diff_output import diff_text
    from safeguard_spark.policy.document import load_policy

    run = author_config(config, settings, policies)
    files = [find_policy_file(side if Path(side).exists() else f"{name}@{side}", run) for side in (before, after)]
    old, new = (load_policy(file) for file in files)
    old_cases, new_cases = (load_cases(cases_path(f)) if cases_path(f).is_file() else () for f in files)
    diff = diff_policies(old, new, (old_cases, new_cases))
    typer.echo(json.dumps(diff_json(diff), ensure_ascii=False) + "\n" if as_json else diff_text(diff), nl=False)


def new_policy(
    name: Annotated[str, typer.Argument(help="A new name, or name@version for the next version of a policy.")],
    policies: Policies = None,
    config: OptionalConfig = None,
) -> None:
    """Create a policy from a template, or its next version from the newest older one."""
    from safeguard_spark.authoring.cases import cases_path
    from safeguard_spark.authoring.new import create_policy

    file = create_policy(name, author_config(config, None, policies).policies)
    typer.echo(f"Wrote {file} and {cases_path(file).name} next to it. Edit them, then: safeguard check {file}")


def import_pack(
    path: Annotated[Path, typer.Argument(help="The folder of a policy pack, or a file with a policy's text.")],
    golden: Annotated[Path | None, typer.Option(help="The golden set as CSV, if it is not in the folder.")] = None,
    name: Annotated[str | None, typer.Option(help="The policy's name; default: from the pack.")] = None,
    version: Annotated[str, typer.Option(help="The policy's version.")] = "1.0.0",
    policies: Policies = None,
    config: OptionalConfig = None,
) -> None:
    """Convert a policy pack written for gpt-oss-safeguard to this format, and check it."""
    from safeguard_spark.authoring.check import check_paths
    from safeguard_spark.authoring.check_output import report_text
    from safeguard_spark.authoring.pack import read_pack, write_pack

    folder = author_config(config, None, policies).policies
    imported = read_pack(path, golden=golden, name=name, version=version)
    file = write_pack(imported, folder)
    typer.echo(f"Wrote {file}.")
    for note in imported.notes:
        typer.echo(f"  - {note}")
    typer.echo()
    report = check_paths([file])
    typer.echo(report_text(report), nl=False)
    if report.errors:
        typer.echo(f"Correct the errors above before you use the policy, then: safeguard check {file}")


def list_policies(
    name: Annotated[str | None, typer.Argument(help="Only this policy.", show_default=False)] = None,
    policies: Policies = None,
    config: OptionalConfig = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """List policies and versions, whether they are published, and their aliases."""
    from safeguard_spark.authoring.listing import list_versions, listing_text

    listed = list_versions(author_config(config, settings, policies), name)
    typer.echo(json.dumps([item._asdict() for item in listed]) + "\n" if as_json else listing_text(listed), nl=False)


def publish_policies(
    refs: Annotated[
        list[str] | None,
        typer.Argument(help="Files, names or name@version; default: every policy.", show_default=False),
    ] = None,
    alias: Annotated[
        Alias | None,
        typer.Option(metavar="draft|shadow", help="Point this alias at the newest of these versions."),
    ] = None,
    lock_only: Annotated[bool, typer.Option("--lock-only", help="Pin in lock.json only, without MLflow.")] = False,
    policies: Policies = None,
    config: OptionalConfig = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Register policies in MLflow and pin them in lock.json. A second time changes nothing."""
    if alias is Alias.active:
        raise ConfigError(
            "--alias takes draft or shadow. `safeguard relabel promote NAME@VERSION` makes a version active for the "
            "readers of its labels, and then moves this alias."
        )
    if alias and lock_only:
        raise ConfigError("An alias lives in MLflow: leave out either --alias or --lock-only.")
    from safeguard_spark.authoring.check_output import report_text
    from safeguard_spark.authoring.publish import (
        publication_json,
        publication_text,
        publish_all,
        publish_candidates,
    )
    from safeguard_spark.policy.ref import all_policy_files

    run = author_config(config, settings, policies)
    files = [find_policy_file(ref, run) for ref in refs] if refs else all_policy_files(run.policies)
    candidates = publish_candidates(files)
    if candidates.refused.diagnostics:
        typer.echo(report_text(candidates.refused), err=True)
        raise PolicyError("Nothing was published. Correct the problems above, then publish again.")
    done = publish_all(candidates.ready, run, alias=alias, registry=not lock_only)
    typer.echo(json.dumps(publication_json(done)) + "\n" if as_json else publication_text(done), nl=False)
