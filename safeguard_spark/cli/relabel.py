"""Commands for a policy that changes: relabel plan, apply, compare, promote."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Context, Option

from safeguard_spark.cli.options import Result, command, group, require_folder, table_config, table_options
from safeguard_spark.cli.result_output import print_message, print_result
from safeguard_spark.errors import ConfigError, ExitCode, SafeguardError
from safeguard_spark.extras import require
from safeguard_spark.terminal import counted

if TYPE_CHECKING:
    from safeguard_spark.config.model import RunConfig
    from safeguard_spark.policy.document import Policy

OldLabeler = Annotated[
    str | None,
    Option(
        help="Whose labels to start from: a labeler's name, or the start of its hash; default: the active labeler.",
        metavar="NAME|HASH",
    ),
]

relabel = group("Plan, apply, compare and promote another version of a policy.")


@command(relabel, table_config)
def plan(
    run: "RunConfig",
    context: Context,
    policy: Annotated[str, Option("--policy", help="The version to label under: a file, name@version or an alias.")],
    scope: Annotated[
        str, Option(help="all, touched, 'since DATE', 'where CONDITION', 'sample N' or 'screened-by ID'.")
    ] = "touched",
    old: Annotated[str | None, Option("--from", help="The version to start from; default: the active version.")] = None,
    share: Annotated[float, Option(help="With --scope touched: the share of the other contents, from 0 to 1.")] = 0.01,
    seed: Annotated[int, Option(help="Another number samples other contents.")] = 0,
    labeler: OldLabeler = None,
) -> Result:
    """Print what a version changes, which contents that affects, and what labelling them costs. Labels nothing."""
    from safeguard_spark.relabel.plan import plan_text
    from safeguard_spark.relabel.scope import ScopeKind, parse_scope
    from safeguard_spark.tracking.registry import resolve

    requested = parse_scope(scope, share=share, seed=seed)
    new = resolve(policy, run)
    from safeguard_spark.spark.relabel.planner import PlanRequest, plan_relabel
    from safeguard_spark.spark.session import session

    spark = session(run)
    is_screened = requested.kind is ScopeKind.screened_by  # these contents have labels under the version itself
    start = new if is_screened else _start_version(spark, run, new, old, labeler)
    report = plan_relabel(spark, run, PlanRequest(start, new, requested, labeler))
    print_message(plan_text(report, table_options(context)))
    return Result(report.to_json())


@command(relabel, table_config)
def apply(
    run: "RunConfig",
    plan_id: Annotated[str, Argument(help="The id that `relabel plan` printed.", metavar="PLAN_ID")],
    budget: Annotated[str | None, Option(help="Stop after this much: 2h, 90m, 1000000calls.")] = None,
    order: Annotated[
        str | None,
        Option(help="Label the newest contents first, or those with the highest COLUMN.", metavar="newest|COLUMN"),
    ] = None,
    policy: Annotated[str | None, Option(help="The version's file, if it is not in the policies folder.")] = None,
    carry: Annotated[
        bool, Option("--carry", help="At the end carry over the verdicts of unaffected contents, without a call.")
    ] = False,
) -> Result:
    """Label what a plan selects. Exit code 6 if the budget ran out first: issue the same command again to resume."""
    from safeguard_spark.relabel.budget import Budget, parse_budget

    limit = parse_budget(budget) if budget else Budget()
    from safeguard_spark.spark.relabel.apply import apply_plan, load_plan, prepare_application
    from safeguard_spark.spark.session import session
    from safeguard_spark.spark.tables import Tables
    from safeguard_spark.tracking.registry import resolve

    spark = session(run)
    plan = load_plan(Tables.open(spark, run.output), plan_id)
    application = prepare_application(spark, run, plan, resolve(policy or plan.new_ref, run), order)
    if application.source_change:
        print_message(str(application.source_change))
    result, carried = apply_plan(spark, run, application, limit, carry=carry)
    print_result(result)
    if carry and not result.exit_code:
        of = "that the change does not affect"
        kept = counted(carried, f"content {of} keeps its", f"contents {of} keep their")
        print_message(f"{kept} verdict of {plan.old_version}, carried over by this command.")
    moved = None if application.source_change is None else application.source_change._asdict()
    value = {**result.to_json(), "plan_id": plan_id, "moved": moved, "carried": carried}
    return Result(value, exit_code=result.exit_code)


@command(relabel, table_config)
def compare(
    run: "RunConfig",
    old: Annotated[str, Argument(help="A file, name@version or name@alias.", metavar="OLD")],
    new: Annotated[str, Argument(help="The version to compare with it.", metavar="NEW")],
    noise_share: Annotated[
        float | None, Option(help="First label this share of OLD's contents a second time, from above 0 to 1.")
    ] = None,
    html: Annotated[Path | None, Option(help="Write a self-contained HTML report to this file.")] = None,
    show_content: Annotated[bool, Option("--show-content", help="Show the text of examples too.")] = False,
    labeler: OldLabeler = None,
) -> Result:
    """Compare two versions' verdicts on the same contents, and with how much one version differs from itself.

    NEW has the labels of the configured labeler; OLD and NEW may be one version with two labelers.
    """
    if noise_share is not None and not 0 < noise_share <= 1:
        raise ConfigError(f"--noise-share {noise_share} is not a share. Give a number above 0, up to 1.")
    require_folder(html)
    from safeguard_spark.evaluation.comparison.html import comparison_page
    from safeguard_spark.evaluation.comparison.report import report_json, report_text
    from safeguard_spark.evaluation.comparison.run import log_comparison
    from safeguard_spark.tracking.registry import resolve

    policies = resolve(old, run), resolve(new, run)
    from safeguard_spark.spark.relabel.version_pairs import compare_versions, label_again, with_texts
    from safeguard_spark.spark.session import session

    if run.tracking.enabled:
        require("mlflow")  # not only when the comparison is made
    spark = session(run)
    if noise_share is not None:
        label_again(spark, run, policies[0], noise_share)
    report = compare_versions(spark, run, *policies, labeler)
    if show_content:
        report = with_texts(spark, run, report)
    print_message(report_text(report))
    pages = {"--html": (html, comparison_page(report))} if html is not None else {}
    mlflow_run_id, code = None, ExitCode.complete
    try:
        mlflow_run_id = log_comparison(run, report)
    except SafeguardError as error:  # an outage keeps nothing that was computed back
        print_message(f"Error: {error}")
        code = error.exit_code
    return Result({**report_json(report), "mlflow_run_id": mlflow_run_id}, exit_code=code, pages=pages)


@command(relabel, table_config)
def promote(
    run: "RunConfig",
    ref: Annotated[str, Argument(help="The version to make active: a file or name@version.", metavar="NEW")],
    force: Annotated[bool, Option("--force", help="Promote even if the gate is not met; needs --reason.")] = False,
    reason: Annotated[str, Option(help="Why; it is recorded with the promotion.")] = "",
) -> Result:
    """Make a version active, with the configured labeler, if its gate is met (else exit code 7).

    To roll back, promote the previous version, with the configuration of its labeler.
    """
    if force and not reason.strip():
        raise ConfigError("--force needs --reason TEXT. The reason is recorded with the promotion.")
    from safeguard_spark.tracking.registry import resolve

    policy = resolve(ref, run)
    from safeguard_spark.spark.relabel.promote import promote_version
    from safeguard_spark.spark.session import session

    done = promote_version(session(run), run, policy, force=force, reason=reason.strip())
    for line in done.lines:
        print_message(f"  {'met' if line.met else 'NOT MET, forced'}: {line}")
    print_message(str(done))
    print_message(done.leaving.sentence)
    return Result(done.to_json())


def _start_version(
    spark: Any, run: "RunConfig", new: "Policy", old: str | None, labeler: str | None
) -> "Policy | None":
    """The version to start from: `old` if it is set, else the active version; None if there is none.

    None too if that is `new` itself, unless it has the labels of another labeler.
    """
    from safeguard_spark.labelling.labeler import Labeler
    from safeguard_spark.spark.activations import active, labeler_of
    from safeguard_spark.spark.tables import Tables
    from safeguard_spark.tracking.registry import resolve

    if old is not None:
        return resolve(old if Path(old).exists() or "@" in old else f"{new.name}@{old}", run)
    tables = Tables.open(spark, run.output)
    current = active(tables, new.name)
    if current is None:
        return None
    if current["policy_hash"] == new.policy_hash:
        configured = Labeler.of(run, new).ref
        return None if labeler_of(tables, new, configured, labeler) in (None, configured) else new
    return resolve(f"{new.name}@{current['policy_version']}", run)
