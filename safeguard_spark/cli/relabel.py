"""Commands for a policy that changes: relabel plan, apply, compare, promote."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from safeguard_spark.cli.result_output import print_result
from safeguard_spark.cli.table_options import (
    AsJson,
    Config,
    Conversation,
    IdColumn,
    Output,
    Settings,
    Source,
    SourceOptions,
    TextColumn,
    load_options,
)
from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import ConfigError
from safeguard_spark.evaluation.comparison.html import comparison_page
from safeguard_spark.evaluation.comparison.report import report_json, report_text
from safeguard_spark.evaluation.comparison.run import log_comparison
from safeguard_spark.policy.document import Policy
from safeguard_spark.relabel import scope as relabel_scope
from safeguard_spark.relabel.budget import Budget, parse_budget
from safeguard_spark.relabel.plan import plan_text
from safeguard_spark.relabel.scope import parse_scope
from safeguard_spark.tracking.registry import resolve

relabel = typer.Typer(
    help="Plan, apply, compare and promote another version of a policy.", no_args_is_help=True, rich_markup_mode=None
)

NewRef = Annotated[str, typer.Option("--policy", help="The version to label under: a file, name@version or an alias.")]
From = Annotated[str | None, typer.Option("--from", help="The version to start from; default: the one that rules.")]
Share = Annotated[float, typer.Option(help="With --scope touched: this share of the rest as well, from 0 to 1.")]
Noise = Annotated[float | None, typer.Option(help="First label this share of OLD's contents a second time.")]


def add_relabel_commands(app: typer.Typer) -> None:
    """Add `relabel` to an application."""
    app.add_typer(relabel, name="relabel")


@relabel.command()
def plan(
    config: Config,
    policy: NewRef,
    scope: Annotated[
        str, typer.Option(help="all, touched, 'since DATE', 'where CONDITION' or 'sample N'.")
    ] = relabel_scope.ScopeKind.touched.value,
    old: From = None,
    share: Share = relabel_scope.DEFAULT_SHARE,
    seed: Annotated[int, typer.Option(help="Another number draws other contents.")] = 0,
    source: Source = None,
    id_column: IdColumn = None,
    text_column: TextColumn = None,
    conversation_column: Conversation = None,
    output: Output = None,
    as_json: AsJson = False,
    settings: Settings = None,
) -> None:
    """Say what a version changes, which contents that touches, and what labelling them costs. Labels nothing."""
    asked = parse_scope(scope, share=share, seed=seed)
    run = load_options(config, settings, output, SourceOptions(source, id_column, text_column, conversation_column))
    new = resolve(policy, run)
    from safeguard_spark.spark.relabel.planner import Question, plan_relabel
    from safeguard_spark.spark.session import session

    spark = session(run)
    question = Question(_from(spark, run, new, old), new, asked)
    planned = plan_relabel(spark, run, question)
    _say(plan_text(planned))
    if as_json:
        _print(planned.to_json())


@relabel.command()
def apply(
    plan_id: Annotated[str, typer.Argument(help="A plan's id, as plan printed it.", metavar="PLAN_ID")],
    config: Config,
    budget: Annotated[str | None, typer.Option(help="Stop after this: 2h, 90m, 1000000calls.")] = None,
    order: Annotated[
        str | None, typer.Option(help="Label first what is newest, or has the highest COLUMN.", metavar="newest|COLUMN")
    ] = None,
    policy: Annotated[str | None, typer.Option(help="Where the version's document is, if not in the folder.")] = None,
    carry: Annotated[
        bool, typer.Option("--carry", help="In the end let what is not touched keep its verdict, without a call.")
    ] = False,
    source: Source = None,
    id_column: IdColumn = None,
    text_column: TextColumn = None,
    conversation_column: Conversation = None,
    output: Output = None,
    as_json: AsJson = False,
    settings: Settings = None,
) -> None:
    """Label what a plan selects. Exit code 6 if the budget ended first: issue the same command again to go on."""
    allowed = parse_budget(budget) if budget else Budget()
    run = load_options(config, settings, output, SourceOptions(source, id_column, text_column, conversation_column))
    code, done = _apply(run, plan_id, policy, order, allowed, carry=carry)
    if as_json:
        _print(done)
    raise typer.Exit(code)


def _apply(
    run: RunConfig, plan_id: str, policy: str | None, order: str | None, budget: Budget, *, carry: bool
) -> tuple[int, dict[str, Any]]:
    """Apply a plan and print the result; returns the exit code and the object for `--json`."""
    from safeguard_spark.spark.relabel.apply import (
        Applied,
        apply_and_carry_over,
        apply_plan,
        load_plan,
        prepare_application,
    )
    from safeguard_spark.spark.session import session
    from safeguard_spark.spark.tables import Tables

    spark = session(run)
    made = load_plan(Tables.open_existing(spark, run), plan_id)
    document = resolve(policy or made.new_ref, run)
    application = prepare_application(spark, run, made, document, order)
    if application.moved:
        _say(str(application.moved))
    if carry:
        result, carried = apply_and_carry_over(spark, run, application, document, budget)
    else:
        result, carried = Applied(apply_plan(spark, run, application, document, budget), 0)
    print_result(result)
    if carry and not result.exit_code:
        _say(f"{carried:,} contents that the change does not touch keep their verdict of version {made.old_version}.")
    moved = None if application.moved is None else application.moved._asdict()
    return result.exit_code, {**result.to_json(), "plan_id": plan_id, "moved": moved, "carried": carried}


@relabel.command()
def compare(
    old: Annotated[str, typer.Argument(help="A file, name@version or name@alias.", metavar="OLD")],
    new: Annotated[str, typer.Argument(help="The version to compare with it.", metavar="NEW")],
    config: Config,
    noise_share: Noise = None,
    html: Annotated[Path | None, typer.Option(help="Write a report to this file, self-contained.")] = None,
    show_content: Annotated[bool, typer.Option("--show-content", help="Show the text of examples too.")] = False,
    source: Source = None,
    id_column: IdColumn = None,
    text_column: TextColumn = None,
    conversation_column: Conversation = None,
    output: Output = None,
    as_json: AsJson = False,
    settings: Settings = None,
) -> None:
    """Show what two versions said of the same contents, and whether they differ more than one does from itself."""
    run = load_options(config, settings, output, SourceOptions(source, id_column, text_column, conversation_column))
    if noise_share is not None and not 0 < noise_share <= 1:
        raise ConfigError(f"--noise-share {noise_share}: a share is above 0, up to 1.")
    policies = resolve(old, run), resolve(new, run)
    from safeguard_spark.spark.relabel.version_pairs import compare_versions, label_again, with_texts
    from safeguard_spark.spark.session import session

    spark = session(run)
    if noise_share is not None:
        label_again(spark, run, policies[0], noise_share)
    report = compare_versions(spark, run, *policies)
    if show_content:
        report = with_texts(spark, run, report)
    _say(report_text(report))
    if html is not None:
        html.write_text(comparison_page(report), encoding="utf-8")
        _say(f"Report: {html}")
    mlflow_run_id = log_comparison(run, report)
    if as_json:
        _print({**report_json(report), "mlflow_run_id": mlflow_run_id})


@relabel.command()
def promote(
    ref: Annotated[str, typer.Argument(help="The version that shall rule: a file or name@version.", metavar="NEW")],
    config: Config,
    force: Annotated[bool, typer.Option("--force", help="Promote although the gate refuses; needs --reason.")] = False,
    reason: Annotated[str, typer.Option(help="Why; it is written down.")] = "",
    source: Source = None,
    id_column: IdColumn = None,
    text_column: TextColumn = None,
    conversation_column: Conversation = None,
    output: Output = None,
    as_json: AsJson = False,
    settings: Settings = None,
) -> None:
    """Let a version rule, if its gate is met (else exit code 7). To roll back, promote the version before."""
    if force and not reason.strip():
        raise ConfigError("--force needs --reason TEXT: it is written down with the promotion.")
    run = load_options(config, settings, output, SourceOptions(source, id_column, text_column, conversation_column))
    policy = resolve(ref, run)
    from safeguard_spark.spark.relabel.promote import promote_version
    from safeguard_spark.spark.session import session

    done = promote_version(session(run), run, policy, force=force, reason=reason.strip())
    for line in done.lines:
        _say(f"  {'met' if line.met else 'NOT MET, forced'}: {line}")
    before = f", in place of {done.before}" if done.before not in (None, done.version) else ""
    what = "rules again" if done.is_rollback else "rules"
    _say(f"{policy.ref} {what if done.changed else 'rules already'}{before if done.changed else ''}; {done.alias}.")
    if as_json:
        _print(done.to_json())


def _from(spark: Any, run: RunConfig, new: Policy, old: str | None) -> Policy | None:
    """The version to start from: as asked, else the one that rules; None if there is no other."""
    from safeguard_spark.spark.activations import newest_activation
    from safeguard_spark.spark.tables import Tables

    if old is not None:
        return resolve(old if Path(old).exists() or "@" in old else f"{new.name}@{old}", run)
    now = newest_activation(Tables.open_existing(spark, run), new.name)
    if now is None or now["policy_hash"] == new.policy_hash:
        return None
    return resolve(f"{new.name}@{now['policy_version']}", run)


def _say(text: str) -> None:
    if text:
        print(text, file=sys.stderr)


def _print(value: dict[str, Any]) -> None:
    print(json.dumps(value, ensure_ascii=False), flush=True)
