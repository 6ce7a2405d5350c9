"""Steps from one version of a policy to the next, over a lake of posts."""

from typing import Any

from safeguard_spark.config.engine import ScriptedConfig
from safeguard_spark.policy.document import Policy
from safeguard_spark.relabel.budget import Budget
from safeguard_spark.relabel.plan import PlanReport, RelabelPlan
from safeguard_spark.relabel.scope import parse_scope
from safeguard_spark.result import RunResult
from safeguard_spark.spark.relabel.apply import Application, apply_plan, prepare_application
from safeguard_spark.spark.relabel.planner import PlanRequest, plan_relabel
from tests.spark.lake import Lake
from tests.versions import NEW, OLD, TEXT

__all__ = ["NEW", "OLD", "TEXT", "WORDS", "applied", "configured", "planned", "posts", "prepared"]

WORDS = {"replica": "M1", "rifle": "M2", "pill": "M3"}
NO_GATE = {"gate": {"cases": False, "min_coverage": None}}


def posts(count: int) -> list[tuple[str, str]]:
    items = ["a table", "a replica", "a rifle", "a pill", "a chair", "a lamp", "a book", "a coat"]
    return [(f"p{n:04d}", f"{items[n % len(items)]}, number {n}") for n in range(count)]


def configured(lake: Lake, **sections: Any) -> Any:
    """The lake's configuration, with a scripted engine that knows a word for each of three rules.

    The collection has a name, so that copies of the lake are the same collection.
    """
    args = sections.pop("args", {})
    config = lake.config(**{"relabel": NO_GATE, "source": {"name": "posts"}, **sections})
    assert isinstance(config.engine, ScriptedConfig)
    script = config.engine.args.model_copy(update={"words": WORDS, **args})
    return config.model_copy(update={"engine": config.engine.model_copy(update={"args": script})})


def planned(lake: Lake, scope: str, new: Policy = NEW, share: float = 0.0, **sections: Any) -> PlanReport:
    """A plan from OLD to a new version."""
    return plan_relabel(
        lake.spark, configured(lake, **sections), PlanRequest(OLD, new, parse_scope(scope, share=share))
    )


def prepared(lake: Lake, plan: RelabelPlan, new: Policy = NEW, order: str | None = None) -> Application:
    return prepare_application(lake.spark, configured(lake), plan, new, order)


def applied(
    lake: Lake, plan: RelabelPlan, new: Policy = NEW, budget: Budget | None = None, order: str | None = None
) -> RunResult:
    """The result of applying a plan."""
    application = prepared(lake, plan, new, order)
    return apply_plan(lake.spark, configured(lake), application, budget or Budget(), show=False).result
