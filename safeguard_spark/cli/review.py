"""Commands for people in the loop: review sample, serve, export, report."""

from typing import TYPE_CHECKING, Annotated

from typer import Option

from safeguard_spark.cli.options import (
    Config,
    Output,
    Result,
    command,
    console_config,
    group,
    load_options,
    output_config,
    table_config,
)
from safeguard_spark.cli.result_output import print_message
from safeguard_spark.errors import ConfigError

if TYPE_CHECKING:
    from safeguard_spark.config.model import RunConfig

review = group("Let people judge contents: what they judge, a console with a queue, and what their decisions say.")


@command(review, table_config)
def sample(
    run: "RunConfig",
    policy: Annotated[
        str, Option(help="A policy whose active version is reviewed, or a version: NAME@VERSION, a file.")
    ],
    half_width: Annotated[
        float | None,
        Option(
            help="Draw the estimating sample that shows the violation rate within this; default: 0.003, 0.3 points."
        ),
    ] = None,
    size: Annotated[int | None, Option(min=1, help="Or draw about this many items.")] = None,
    flagged_share: Annotated[float, Option(help="The share of the sample that the model flagged.")] = 0.25,
    queue: Annotated[
        list[str] | None,
        Option(
            help="Also, or without a sample only, draw items that may be wrong: appeal, newly_caught, escalated, "
            "disagreement, unreadable, low_confidence or screened; repeatable."
        ),
    ] = None,
    queue_size: Annotated[
        int, Option(min=1, help="Items of each such queue, and of --calibration; of appeals all.")
    ] = 200,
    appeals: Annotated[
        str | None,
        Option(help="The table of appeals: appeal_id, content_id, policy, appealed_at, reason.", metavar="TABLE|PATH"),
    ] = None,
    plan: Annotated[str | None, Option(help="The plan of relabel plan whose newly caught contents are drawn.")] = None,
    calibration: Annotated[
        str | None,
        Option(
            help="Also, or without a sample only, hide contents of this golden set among the items, to see who finds "
            "the violations: NAME, NAME@VERSION or a manifest.",
            metavar="SET",
        ),
    ] = None,
    scope: Annotated[
        str, Option(help="Draw only from these contents: all, 'since DATE' or 'where CONDITION'.")
    ] = "all",
    seed: Annotated[int, Option(help="Another number draws other contents.")] = 0,
    dry_run: Annotated[bool, Option("--dry-run", help="Only say how many items that would be.")] = False,
) -> Result:
    """Draw the contents that people judge: an estimating sample, and queues of what may be wrong.

    The same command on the same tables draws the same items, and adds them once.
    """
    from safeguard_spark.review.draws import HALF_WIDTH, DrawRequest, FindingQueue

    names = [name.replace("-", "_") for name in queue or ()]
    if unknown := [name for name in names if name not in list(FindingQueue)]:
        raise ConfigError(f"--queue {unknown[0]}: there is no such queue. Write one of {', '.join(FindingQueue)}.")
    if half_width is None and size is None and not names and calibration is None:
        half_width = HALF_WIDTH
    request = DrawRequest(
        half_width=half_width, size=size, share=flagged_share, queues=tuple(map(FindingQueue, names)),
        queue_size=queue_size, appeals=appeals, plan_id=plan, calibration=calibration, scope=scope, seed=seed,
    )  # fmt: skip
    from safeguard_spark.spark.review.draw import draw_items
    from safeguard_spark.spark.session import session

    draw = draw_items(session(run), run, policy, request, dry_run=dry_run)
    print_message(draw.text)
    return Result(draw.to_json())


def _tables_config(config: Config, output: Output = None) -> "RunConfig":
    return load_options(config, None, {"output": output})


@command(review, _tables_config)
def export(
    run: "RunConfig",
    to: Annotated[str, Option(help="gold, cases or appeals.")],
    policy: Annotated[str | None, Option(help="Cases or appeals of this policy alone.")] = None,
) -> Result:
    """Export what people decided, without Spark: for golden sets, as drafts for cases.yaml, for those who appealed."""
    from safeguard_spark.extras import require

    require("deltalake", "pyarrow", "scipy")
    from safeguard_spark.review.export import Target, export_decisions

    if to not in list(Target):
        raise ConfigError(f"--to {to}: write {', '.join(Target)}.")
    exported = export_decisions(run, Target(to), policy)
    print_message(exported.text)
    return Result({**exported._asdict(), "files": list(exported.files), "status": "complete"})


@command(review, output_config)
def report(run: "RunConfig", policy: Annotated[str | None, Option(help="Of this policy alone.")] = None) -> Result:
    """Show what people have decided so far: corrected rates, recall, precision, overturned labels, what waits."""
    from safeguard_spark.report.text import report_text
    from safeguard_spark.spark.review.report import review_report
    from safeguard_spark.spark.session import session

    done = review_report(session(run), run, policy)
    return Result(done.to_json(), report_text(done))


@command(review, console_config, "serve")
def serve_console(run: "RunConfig") -> Result:
    """Serve the review console over the tables of an output folder, without Spark. Ctrl-C ends it."""
    from safeguard_spark.review.serve import serve

    return Result({"url": serve(run)})
