"""Commands for screens, the light classifiers in front of the model: plan, train, calibrate, show, retire."""

from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Context, Option

from safeguard_spark.cli.options import Result, command, group, output_config, table_config, table_options
from safeguard_spark.errors import ConfigError

if TYPE_CHECKING:
    from safeguard_spark.config.model import RunConfig
    from safeguard_spark.screen.record import Kind, Screen

PolicyRef = Annotated[str, Option("--policy", help="The policy: a file, name@version or an alias.")]
Target = Annotated[str, Option(help="The share of the labeler's violations that it must keep.", metavar="SHARE")]
KindOption = Annotated[
    str, Option("--kind", help="linear: trained on labels; glance: the model, asked for one token.", metavar="KIND")
]
Strata = Annotated[
    str | None,
    Option(
        "--strata", help="A column such as the language, or SQL: each of its values has a threshold.", metavar="SQL"
    ),
]
ScreenId = Annotated[str, Argument(help="The id that `screen train` printed.", metavar="SCREEN_ID")]

screen = group("Clear what is clearly safe before the model is called, with a recall that is proved and audited.")


@command(screen, table_config)
def plan(
    run: "RunConfig", context: Context, policy: PolicyRef, kind: KindOption = "linear", strata: Strata = None
) -> Result:
    """Print what a screen would spare at several targets, from labels that are there. Makes nothing."""
    from safeguard_spark.screen.plan import plan_text
    from safeguard_spark.tracking.registry import resolve

    resolved = resolve(policy, run)
    from safeguard_spark.spark.screen.make import plan_screen
    from safeguard_spark.spark.session import session

    report = plan_screen(session(run), run, resolved, _known(kind), strata)
    return Result(report.to_json(), plan_text(report, table_options(context)))


@command(screen, table_config)
def train(
    run: "RunConfig",
    policy: PolicyRef,
    target: Target = "0.95",
    kind: KindOption = "linear",
    critical: Annotated[bool, Option("--critical", help="Also for a policy with critical rules.")] = False,
    strata: Strata = None,
) -> Result:
    """Make a screen from labels that are there. Exit code 7 if there are too few violations to show the target."""
    share = _share(target)
    if _known(kind) == "linear":
        _refuse_untracked(run)
    from safeguard_spark.tracking.registry import resolve

    resolved = resolve(policy, run)
    from safeguard_spark.spark.screen.make import train_screen
    from safeguard_spark.spark.session import session

    return _made(train_screen(session(run), run, resolved, share, _known(kind), critical=critical, strata=strata))


@command(screen, table_config)
def calibrate(
    run: "RunConfig", screen_id: ScreenId, policy: PolicyRef, target: Target = "0.95", strata: Strata = None
) -> Result:
    """Set a screen's threshold anew, by the labels that are there now. That makes another screen."""
    share = _share(target)
    from safeguard_spark.tracking.registry import resolve

    resolved = resolve(policy, run)
    from safeguard_spark.spark.screen.make import calibrate_screen
    from safeguard_spark.spark.session import session

    return _made(calibrate_screen(session(run), run, resolved, screen_id, share, strata))


@command(screen, output_config)
def show(
    run: "RunConfig", screen_id: Annotated[str | None, Argument(help="A screen; by default all.")] = None
) -> Result:
    """List the screens, or show one with its audits."""
    from safeguard_spark.screen.text import list_text, show_text
    from safeguard_spark.spark.screens import all_screens, find_screen, past_audits
    from safeguard_spark.spark.session import session
    from safeguard_spark.spark.tables import Tables

    tables = Tables.open(session(run), run.output)
    if screen_id is None:
        screens = all_screens(tables)
        return Result([_json(screen) for screen in screens], list_text(screens))
    one, audits = find_screen(tables, screen_id), past_audits(tables, screen_id)
    listed = [{"run_id": run_id, **vars(audit), "recall_low": audit.recall_low} for run_id, audit in audits]
    return Result({**_json(one), "audits": listed}, show_text(one, audits))


@command(screen, output_config)
def retire(
    run: "RunConfig",
    context: Context,
    screen_id: ScreenId,
    reason: Annotated[str, Option(help="Why; it is recorded.")],
) -> Result:
    """Retire a screen for good: no run uses it, and what it cleared is pending again."""
    if not reason.strip():
        raise ConfigError("--reason is empty. Say why in a sentence: it is recorded.")
    from safeguard_spark.spark.screens import find_screen, retire_screen
    from safeguard_spark.spark.session import session
    from safeguard_spark.spark.tables import Tables

    tables = Tables.open(session(run), run.output)
    one = find_screen(tables, screen_id)
    if one.is_retired:
        return Result(_json(one), f"Screen {screen_id} is retired already: {one.retired_reason}\n")
    retire_screen(tables, one, reason.strip())
    one = find_screen(tables, screen_id)
    plan = (
        f"safeguard relabel plan --policy {one.policy_ref} --scope 'screened-by {screen_id}' {table_options(context)}"
    )
    text = (
        f"Screen {screen_id} is retired: what it cleared is pending again. The next label run has it judged, or {plan}"
    )
    return Result(_json(one), text.rstrip() + "\n")


def _known(kind: str) -> "Kind":
    from safeguard_spark.screen.record import KINDS

    if (match := next((known for known in KINDS if known == kind), None)) is None:
        raise ConfigError(f"--kind {kind}: there is no such kind of screen. Kinds: {', '.join(KINDS)}.")
    return match


def _share(target: str) -> float:
    try:
        share = float(target)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise ConfigError(f"--target {target} is not a share between 0 and 1, for example 0.95.")
    return share


def _refuse_untracked(run: "RunConfig") -> None:
    if not run.tracking.enabled:
        raise ConfigError("A screen's classifier is kept in MLflow: set tracking.enabled=true.")


def _made(screen: "Screen") -> Result:
    from safeguard_spark.screen.text import made_text

    return Result(_json(screen), made_text(screen))


def _json(screen: "Screen") -> dict[str, Any]:
    return {"screen_id": screen.screen_id, "screen_hash": screen.screen_hash, **screen.model_dump()}
