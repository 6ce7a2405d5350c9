"""Commands for policy authors: check, verify, show-prompt, diff, new, import, list, publish."""

import re
import secrets
import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer
from typer import Argument, Option

from safeguard_spark.cli.options import (
    Result,
    author_config,
    command,
    engine_config,
    find_policy_file,
    folder_config,
    has_color,
    require_folder,
)
from safeguard_spark.errors import ConfigError, ExitCode, PolicyError, SafeguardError
from safeguard_spark.policy.alias import Alias
from safeguard_spark.terminal import in_own_lines, one_line

if TYPE_CHECKING:
    from safeguard_spark.authoring.cases import Case
    from safeguard_spark.authoring.diagnostics import Report
    from safeguard_spark.authoring.verify import Verification
    from safeguard_spark.config.model import RunConfig
    from safeguard_spark.labelling.content import Content
    from safeguard_spark.policy.document import Policy

REF = "A file, name@version or name@alias; a bare name means its newest version."

policy = typer.Typer()


Format = StrEnum("Format", ["text", "json", "github"])  # how `check` prints problems


@command(policy, folder_config, "check")
def check_policies(
    run: "RunConfig",
    paths: Annotated[
        list[str] | None, Argument(help="Files, folders of policies, or names; default: all.", show_default=False)
    ] = None,
    output: Annotated[Format, Option("--format", help="How to print problems.")] = Format.text,
    strict: Annotated[bool, Option("--strict", help="Fail on warnings too.")] = False,
    max_errors: Annotated[int, Option(min=0, help="Show at most so many problems as text, errors first; 0: all.")] = 20,
) -> Result:
    """Show every problem of every policy, with file, line and column. Exit code 3 if there are errors."""
    from safeguard_spark.authoring.check import check_paths
    from safeguard_spark.authoring.check_output import report_github, report_json, report_text, report_value
    from safeguard_spark.policy.ref import no_policies_error

    if not paths and not run.policies.is_dir():
        raise no_policies_error(run.policies)
    files = [Path(p) if Path(p).is_dir() else find_policy_file(p, run) for p in paths or [str(run.policies)]]
    report = check_paths(files, run.policies)
    text = {
        Format.text: lambda: report_text(report, max_errors, color=has_color()),
        Format.json: lambda: report_json(report),
        Format.github: lambda: report_github(report),
    }[output]()
    return Result(report_value(report), text, report.exit_code(strict))


@command(policy, engine_config, "verify")
def verify_policies(
    run: "RunConfig",
    refs: Annotated[list[str], Argument(help=REF, metavar="REF...")],
    case: Annotated[list[str] | None, Option(help="Only the case with this id; repeatable.")] = None,
    show_answers: Annotated[
        bool, Option("--show-answers", help="Print what the model said for each failed case.")
    ] = False,
    versus: Annotated[
        list[str] | None,
        Option(help="Side by side: another policy, or key=value, such as labeler.effort=high; repeatable."),
    ] = None,
    html: Annotated[Path | None, Option(help="Write a page with the results to this file.")] = None,
    mlflow: Annotated[bool, Option("--mlflow", help="Log the figures to MLflow.")] = False,
) -> Result:
    """Run a policy's cases through a model and report rule by rule.

    Exit code 7 if a case failed or, where the policy has a gate, if the gate is not met; 5 if the engine failed. With
    --versus the exit code is that of the first.
    """
    from safeguard_spark.authoring.verify import (
        overall_exit_code,
        verification_errors,
        verification_json,
        verification_text,
    )
    from safeguard_spark.authoring.verify_output import answers_text, side_by_side, side_name, verification_html
    from safeguard_spark.config.load import with_settings
    from safeguard_spark.extras import require
    from safeguard_spark.tracking.registry import resolve
    from safeguard_spark.tracking.store import tracking_uri, try_server

    if versus and len(refs) > 1:
        raise ConfigError("--versus compares one policy: give one REF.")
    others = versus or []
    require_folder(html)
    if mlflow:  # also before a model is paid for
        require("mlflow")
        try_server(tracking_uri(run))
    files = list(dict.fromkeys(find_policy_file(ref, run) for ref in refs))
    versions = {other: find_policy_file(other, run) for other in others if "=" not in other}
    errors = verification_errors([*files, *versions.values()])
    _require_none(errors, "The model was not called. Correct the errors above, then verify again.")
    sides = [_Side(resolve(str(file), run), _cases(file, case), run) for file in files]
    for other in others:  # all sides of a comparison have the cases of the first
        if other in versions:
            sides.append(sides[0]._replace(policy=resolve(str(versions[other]), run)))
        else:
            sides.append(sides[0]._replace(config=with_settings(run, [other]), setting=other))
    done = [_verify(side) for side in sides]
    names = [side.setting or side_name(v) for side, v in zip(sides, done, strict=True)]
    text = side_by_side(done, names) if others else "\n".join(verification_text(v) for v in done)
    if show_answers:
        text += "".join(f"\n{answers}" for v in done if (answers := answers_text(v)))
    code = overall_exit_code(done[:1] if others else done)
    if mlflow:
        try:
            _log_verifications(run, done)
        except SafeguardError as error:  # an outage keeps nothing that was paid for back
            typer.echo(f"Error: {error}", err=True)
            code = code or error.exit_code
    pages = {"--html": (html, verification_html(done, names, with_answers=show_answers))} if html else {}
    return Result([verification_json(v) for v in done], text, code, pages=pages)


class _Side(NamedTuple):
    policy: "Policy"
    cases: tuple["Case", ...]
    config: "RunConfig"
    setting: str = ""  # that makes it another side than the first


def _verify(side: _Side) -> "Verification":
    from safeguard_spark.authoring.verify import verify_policy
    from safeguard_spark.engines.factory import open_engine
    from safeguard_spark.labelling.labeler import Labeler

    def progress(done: int, of: int) -> None:
        if sys.stderr.isatty():
            end = "\n" if done == of else ""
            print(f"\r{side.policy.ref}: {done} of {of} cases", end=end, file=sys.stderr, flush=True)

    engine = side.config.engine
    run_id, window = f"verify-{secrets.token_hex(4)}", engine.requests_in_flight
    with open_engine(engine, run_id=run_id, window=window, devices=[], at_desk=True) as opened:
        return verify_policy(side.policy, side.cases, Labeler.of(side.config, side.policy), opened, progress)


def _cases(file: Path, ids: list[str] | None) -> tuple["Case", ...]:
    from safeguard_spark.authoring.cases import find_case
    from safeguard_spark.authoring.verify import required_cases

    return tuple(find_case(file, id) for id in dict.fromkeys(ids)) if ids else required_cases(file)


def _log_verifications(run: "RunConfig", verifications: "list[Verification]") -> None:
    from safeguard_spark.authoring.verify import Finding
    from safeguard_spark.tracking.runs import log_finished_run

    for v in verifications:
        params = {
            "policy": v.policy.ref,
            "policy_hash": v.policy.policy_hash,
            "labeler": v.labeler.name,
            "labeler_hash": v.labeler.labeler_hash,
            "status": v.status,
        }
        counts = {"cases": len(v.results), "passed": v.count(Finding.passed), "second_looks": v.second_looks}
        values = {**counts, **{name: value for name, value in v.measures.items() if value is not None}}
        log_finished_run(run, f"verify {v.policy.ref}", params, values, {})


def _require_none(problems: "Report", message: str) -> None:
    from safeguard_spark.authoring.check_output import report_text

    if problems.diagnostics:
        typer.echo(report_text(problems), err=True)
        raise PolicyError(message)


@command(policy, author_config, "show-prompt")
def show_prompt(
    run: "RunConfig",
    ref: Annotated[str, Argument(help=REF)],
    text: Annotated[str | None, Argument(help="The content; default: standard input.", show_default=False)] = None,
    case: Annotated[str | None, Option(help="Show the prompt of this case of the policy instead.")] = None,
    mark: Annotated[bool, Option("--mark", help="Mark what is template, policy and content.")] = False,
) -> Result:
    """Print exactly what the model would receive for a text, and on standard error how many tokens it has.

    On a terminal, control characters and invisible characters are escaped.
    """
    from safeguard_spark.authoring.prompt_output import marked_text, prompt_json, prompt_text, token_counts
    from safeguard_spark.labelling.rows import LabelSpec, prepare
    from safeguard_spark.labelling.verdict import Verdict
    from safeguard_spark.tracking.registry import resolve

    file = find_policy_file(ref, run)
    policy = resolve(str(file), run)
    spec = LabelSpec.of(run, policy)
    prepared = prepare(spec, _content(file, text, case))
    if isinstance(prepared, Verdict):
        cause = f": {prepared.error}" if prepared.error else ""
        typer.echo(f"The model would not be called. The outcome is {prepared.outcome.value}{cause}.", err=True)
        return Result({"policy": policy.ref, "outcome": prepared.outcome.value, "error": prepared.error})
    text = (marked_text if mark else prompt_text)(prepared) + "\n"
    if sys.stdout.isatty():  # a file or another program gets the prompt as it is
        text = in_own_lines(text)
    return Result(prompt_json(prepared, spec), text, note=token_counts(prepared, spec))


def _content(file: Path, text: str | None, case_id: str | None) -> "Content":
    from safeguard_spark.authoring.cases import find_case
    from safeguard_spark.labelling.content import from_text

    if case_id is not None and text is not None:
        raise ConfigError("Show the prompt of a text or of a case: leave out either the text or --case.")
    if case_id is not None:
        return find_case(file, case_id).content
    if text is not None:
        return from_text(text)
    if sys.stdin is None:  # it was closed
        raise ConfigError("There is no standard input to read the content from: give the content after the policy.")
    if sys.stdin.isatty():
        typer.echo("Type the content, then Ctrl-D on an empty line.", err=True)
    return from_text(sys.stdin.buffer.read().removesuffix(b"\n"))


@command(policy, author_config, "diff")
def diff_versions(
    run: "RunConfig",
    refs: Annotated[list[str], Argument(help=f"Two versions. {REF} Or NAME and two versions.", metavar="OLD NEW")],
) -> Result:
    """Show what changed between two versions, rule by rule: first behavior, then text."""
    from safeguard_spark.authoring.cases import cases_path, load_cases
    from safeguard_spark.authoring.diff import diff_json, diff_policies, diff_text
    from safeguard_spark.policy.document import VERSION, load_policy

    *names, before, after = refs if len(refs) in (2, 3) else ("", "")
    if not after or (not names and re.match(VERSION, after)):
        raise ConfigError(
            "diff compares two versions: safeguard diff NAME@OLD NAME@NEW, or safeguard diff NAME OLD NEW."
        )
    sides = [f"{names[0]}@{side}" if names and not Path(side).exists() else side for side in (before, after)]
    files = [find_policy_file(side, run) for side in sides]
    old, new = (load_policy(file) for file in files)
    old_cases, new_cases = (load_cases(cases_path(f)) if cases_path(f).is_file() else () for f in files)
    diff = diff_policies(old, new, (old_cases, new_cases))
    return Result(diff_json(diff), diff_text(diff))


@command(policy, folder_config, "new")
def new_policy(
    run: "RunConfig",
    name: Annotated[str, Argument(help="A new name, or name@version for the next version of a policy.")],
    shipped: Annotated[
        str | None, Option("--from", help="Copy a policy that ships, such as spam, in place of the template.")
    ] = None,
) -> Result:
    """Create a policy from a template or from one that ships, or its next version from the newest older one."""
    from safeguard_spark.authoring.cases import cases_path
    from safeguard_spark.authoring.new import copy_shipped, create_policy
    from safeguard_spark.policy.layout import CASES_FILE

    file = copy_shipped(name, shipped, run.policies) if shipped else create_policy(name, run.policies)
    wrote = f"{file} and {CASES_FILE} next to it. Edit them" if cases_path(file).is_file() else f"{file}. Edit it"
    return Result({"file": str(file)}, f"Wrote {wrote}, then: safeguard check {shlex.quote(str(file))}\n")


@command(policy, folder_config, "import")
def import_pack(
    run: "RunConfig",
    path: Annotated[Path, Argument(help="The folder of a policy pack, or a file with a policy's text.")],
    golden: Annotated[Path | None, Option(help="The golden set (CSV or JSON), if it is not in the folder.")] = None,
    name: Annotated[str | None, Option(help="The policy's name; default: from the pack.")] = None,
    version: Annotated[str, Option(help="The policy's version.")] = "1.0.0",
    text_column: Annotated[str | None, Option(help="The golden set's column of texts; default: by meaning.")] = None,
    label_column: Annotated[str | None, Option(help="The golden set's column of labels; default: by meaning.")] = None,
    split: Annotated[
        bool, Option("--split", help="One policy per flag, if the text asks for a JSON of flags.")
    ] = False,
    strict: Annotated[
        bool,
        Option(
            "--strict",
            help="Write nothing and exit with 6 if a part of the pack would be lost; exit with 3 if the policy written "
            "has errors.",
        ),
    ] = False,
) -> Result:
    """Convert a policy pack written for gpt-oss-safeguard or a similar model to this format, and check it."""
    from safeguard_spark.authoring.check import check_paths
    from safeguard_spark.authoring.check_output import report_text, report_value
    from safeguard_spark.authoring.packs.headers import Columns
    from safeguard_spark.authoring.packs.pack import read_pack, write_packs

    columns = Columns(text_column, label_column)
    imported = read_pack(path, golden=golden, name=name, version=version, columns=columns, split=split)
    is_refused = strict and any(one.lost for one in imported)
    files = [] if is_refused else write_packs(imported, run.policies)
    report = check_paths(files)
    lines, values = list[str](), []
    written: list[Path | None] = [*files] or [None] * len(imported)
    for file, one in zip(written, imported, strict=True):
        lines += [
            f"Wrote {file}." if file else f"{one.policy.ref}:",
            *(f"  - {note}" for note in one.notes),
            *(f"  - LOST {part}" for part in one.lost),
        ]
        values.append({"file": str(file) if file else None, "notes": one.notes, "lost": one.lost})
    refusal = "Nothing was written, because of --strict: correct the pack, or leave out --strict.\n"
    lines = [one_line(line) for line in lines] + ["", refusal if is_refused else report_text(report)]
    if report.errors:
        where = shlex.join(map(str, files))
        lines[-1] += f"Correct the errors above before you use the policy, then: safeguard check {where}\n"
    value = {"policies": values} if split else values[0]
    return Result(
        {**value, "check": report_value(report)},
        "\n".join(lines),
        ExitCode.partial if is_refused else report.exit_code(strict=False) if strict else ExitCode.complete,
    )


@command(policy, author_config, "list")
def list_policies(
    run: "RunConfig",
    name: Annotated[str | None, Argument(help="Only this policy.", show_default=False)] = None,
) -> Result:
    """List policies and versions, whether they are published, and their aliases."""
    from safeguard_spark.authoring.listing import list_versions, listing_text, strays_text

    listed = list_versions(run, name)
    return Result([item._asdict() for item in listed], listing_text(listed), note=strays_text(run, name))


@command(policy, author_config, "publish")
def publish_policies(
    run: "RunConfig",
    refs: Annotated[
        list[str] | None, Argument(help="Files, names or name@version; default: every policy.", show_default=False)
    ] = None,
    alias: Annotated[
        Alias | None, Option(metavar="draft|shadow", help="Point this alias at the newest of these versions.")
    ] = None,
    lock_only: Annotated[bool, Option("--lock-only", help="Pin in the lock only, without MLflow.")] = False,
) -> Result:
    """Register policies in MLflow and pin them in the lock. A second time changes nothing."""
    if alias is Alias.active:
        raise ConfigError(
            "--alias takes draft or shadow. `safeguard relabel promote NAME@VERSION` makes a version active for the "
            "readers of its labels, and then moves this alias."
        )
    if alias and lock_only:
        raise ConfigError("An alias lives in MLflow: leave out either --alias or --lock-only.")
    from safeguard_spark.authoring.publish import publication_json, publication_text, publish_all, publish_candidates
    from safeguard_spark.policy.layout import stray_files
    from safeguard_spark.policy.ref import all_policy_files

    files = [find_policy_file(ref, run) for ref in refs] if refs else all_policy_files(run.policies)
    strays = [stray for stray in stray_files(run.policies) if not refs or stray.path in files]
    ready, problems = publish_candidates(files, run.policies, strays)
    _require_none(problems, "Nothing was published. Correct the problems above, then publish again.")
    done = publish_all(ready, run, alias=alias, registry=not lock_only)
    return Result(publication_json(done), publication_text(done))


@command(policy, folder_config, "export-pack")
def export_policy_pack(
    run: "RunConfig",
    ref: Annotated[str, Argument(help="A file, name@version or an alias.", metavar="POLICY")],
    folder: Annotated[Path, Argument(help="The folder to write policy.md and NAME.csv into.")],
) -> Result:
    """Write a policy and its cases as public packs have them, and list what importing the pack would not give back."""
    from safeguard_spark.authoring.cases import cases_path, load_cases
    from safeguard_spark.authoring.packs.export import export_pack, write_pack
    from safeguard_spark.policy.document import load_policy

    file = find_policy_file(ref, run)
    exported = load_policy(file)
    path = cases_path(file)
    pack = export_pack(exported, load_cases(path) if path.is_file() else ())
    files = [str(file) for file in write_pack(pack, exported.name, folder)]
    lines = [f"Wrote {' and '.join(files)}.", *(f"  LOST {line}" for line in pack.lost), ""]
    return Result({"files": files, "lost": list(pack.lost)}, "\n".join(lines))
