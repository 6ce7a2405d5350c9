"""As-of queries across promotions, edits, roll-backs and erasure; verdicts carried over."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mlflow
import pytest
from pyspark.sql import functions as F

from safeguard_spark import schema
from safeguard_spark.cli.app import run_command
from safeguard_spark.errors import ConfigError
from safeguard_spark.policy.document import Policy
from safeguard_spark.relabel.budget import Budget
from safeguard_spark.relabel.plan import RelabelPlan
from safeguard_spark.relabel.scope import parse_scope
from safeguard_spark.spark.history import labels_as_of
from safeguard_spark.spark.label.job import label_table
from safeguard_spark.spark.maintain.erase import erase_contents
from safeguard_spark.spark.relabel import carry_over
from safeguard_spark.spark.relabel.apply import apply_plan, prepare_application
from safeguard_spark.spark.relabel.carry_over import carry_over_verdicts, require_scope
from safeguard_spark.spark.relabel.planner import PlanRequest, plan_relabel
from safeguard_spark.spark.relabel.promote import promote_version
from safeguard_spark.spark.relabel.version_pairs import compare_versions
from safeguard_spark.spark.tables import Tables
from tests.spark.lake import Lake
from tests.spark.relabelling import NEW, OLD, TEXT, configured, posts

pytestmark = pytest.mark.spark


def now() -> datetime:
    return datetime.now(UTC)


def relabelled(lake: Lake, scope: str, new: Policy = NEW) -> None:
    config = configured(lake)
    plan = plan_relabel(lake.spark, config, PlanRequest(OLD, new, parse_scope(scope, share=0.0))).plan
    apply_plan(lake.spark, config, prepare_application(lake.spark, config, plan, new), Budget(), show=False)


@pytest.mark.slow
def test_every_moment_keeps_the_labels_of_that_time(lake: Lake) -> None:
    lake.write([("a", "a rifle"), ("b", "a lamp"), ("gone", "a replica")])
    config = configured(lake)
    before = now()
    label_table(lake.spark, config, [OLD], show=False)
    tables = Tables.open(lake.spark, config.output)
    first = now()
    relabelled(lake, "all")
    unpromoted = now()
    promote_version(lake.spark, config, NEW)
    promoted = now()
    lake.write([("a", "a toy"), ("b", "a lamp"), ("gone", "a replica"), ("late", "a pill")], mode="overwrite")
    edited = now()
    label_table(lake.spark, config, [NEW], show=False)
    label_table(lake.spark, config, [OLD], show=False)  # a late run of the old version does not change the past
    again = now()
    promote_version(lake.spark, config, OLD)
    back = now()

    def labels_at(moment: datetime) -> dict[str, tuple[str, bool]]:
        rows = labels_as_of(tables, moment).collect()
        assert len({row.content_id for row in rows}) == len(rows)
        return {row.content_id: (row.policy_version, row.violation) for row in rows}

    old = {"a": ("1.0.0", True), "b": ("1.0.0", False), "gone": ("1.0.0", True)}
    new = {id: ("1.1.0", violation) for id, (_, violation) in old.items()}
    expected = {
        before: {},
        first: old,
        unpromoted: old,
        promoted: new,
        edited: new,
        again: {**new, "a": ("1.1.0", False), "late": ("1.1.0", True)},
        back: {**old, "a": ("1.0.0", False), "late": ("1.0.0", True)},
    }
    assert {moment: labels_at(moment) for moment in expected} == expected
    # The table function, and DuckDB's macro in views.sql, return the same.
    for moment in (first, promoted, back):
        sql = f"labels_as_of(TIMESTAMP'{moment:%Y-%m-%d %H:%M:%S.%f}')"
        rows = lake.spark.sql(f"SELECT content_id, policy_version, violation FROM {sql}").collect()
        assert {row[0]: (row[1], row[2]) for row in rows} == expected[moment]
        assert duck(lake, moment) == expected[moment]
    [label] = labels_as_of(tables, promoted).where("content_id = 'a'").collect()
    assert (label["policy_version"], label["policy_hash"], label["rule_ids"]) == ("1.1.0", NEW.policy_hash, ["M2"])
    activations = tables.read(schema.ACTIVATIONS).orderBy("activated_at").collect()
    assert [row["policy_version"] for row in activations] == ["1.0.0", "1.1.0", "1.0.0"]

    erase_contents(lake.spark, config, ["gone"])
    assert {moment: set(labels_at(moment)) for moment in expected} == {
        moment: set(labels) - {"gone"} for moment, labels in expected.items()
    }


def duck(lake: Lake, moment: datetime) -> dict[str, tuple[str, bool]]:
    with lake.duckdb() as connection:
        query = f"SELECT content_id, policy_version, violation FROM labels_as_of(TIMESTAMPTZ '{moment.isoformat()}')"
        return {id: (version, violation) for id, version, violation in connection.execute(query).fetchall()}


@pytest.mark.slow
def test_verdicts_of_unaffected_contents_are_carried_over_and_the_version_is_active_for_the_whole_table(
    lake: Lake,
) -> None:
    lake.write([*posts(80), ("again", posts(80)[4][1])])
    config = configured(lake, relabel={"gate": {"cases": False, "min_coverage": 1.0}})
    label_table(lake.spark, config, [OLD], show=False)
    plan = plan_relabel(lake.spark, config, PlanRequest(OLD, NEW, parse_scope("touched", share=0.0))).plan
    apply_plan(lake.spark, config, prepare_application(lake.spark, config, plan, NEW), Budget(), show=False)
    lake.calls()
    assert carry_over_verdicts(lake.spark, config, plan, NEW) == 71
    assert carry_over_verdicts(lake.spark, config, plan, NEW) == 0
    assert promote_version(lake.spark, config, NEW).changed
    current = lake.current()
    assert len(current) == 81 and {row.policy_version for row in current.values()} == {"1.1.0"}
    assert {row.carried_from for row in current.values() if row.rule_ids == ["M2"]} == {None}
    assert {row.carried_from for row in current.values() if row.rule_ids != ["M2"]} == {"1.0.0"}
    assert current["again"].carried_from == "1.0.0" and current["p0001"].category == "counterfeit"
    # Verdicts carried over are done for the label job, and are not compared.
    assert label_table(lake.spark, config, [NEW], show=False).pending == 0
    assert lake.calls() == 0
    assert compare_versions(lake.spark, config, OLD, NEW).comparison.compared == 10


@pytest.mark.slow
def test_the_next_run_records_a_carry_over_that_ended_after_its_labels(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.write(posts(16))
    config = configured(lake)
    label_table(lake.spark, config, [OLD], show=False)
    plan = plan_relabel(lake.spark, config, PlanRequest(OLD, NEW, parse_scope("touched", share=0.0))).plan
    apply_plan(lake.spark, config, prepare_application(lake.spark, config, plan, NEW), Budget(), show=False)

    def end(*_: Any) -> None:
        raise RuntimeError("ended")

    with monkeypatch.context() as ending, pytest.raises(RuntimeError, match="ended"):
        ending.setattr(carry_over, "append_run", end)
        carry_over_verdicts(lake.spark, config, plan, NEW)
    assert carry_over_verdicts(lake.spark, config, plan, NEW) == 0
    label_table(lake.spark, config, [NEW], show=False)
    ((run_id, carried),) = lake.read("labels").where("carried_from IS NOT NULL").groupBy("run_id").count().collect()
    (row,) = lake.read("runs").where(F.col("run_id") == run_id).collect()
    assert (row.status, row.plan_id, row.written) == ("failed", plan.plan_id, carried) and carried > 0
    assert not list((lake.tables / "_staging").iterdir())


@pytest.mark.parametrize(
    ("scope", "old_version", "problem"),
    [
        ("all", "1.0.0", "has scope all: only a plan with scope touched .* plan again with --scope touched"),
        ("all", None, "names no earlier version with labels.* plan again with --from VERSION"),
        ("touched", None, "names no earlier version with labels.* plan again with --from VERSION"),
    ],
)
def test_verdicts_are_carried_over_only_from_an_old_version_with_scope_touched(
    scope: str, old_version: str | None, problem: str
) -> None:
    plan = RelabelPlan.model_construct(policy="market", scope=parse_scope(scope), old_version=old_version, old_hash="0")
    with pytest.raises(ConfigError, match=f"Plan {plan.plan_id} {problem}"):
        require_scope(plan)


@pytest.fixture
def published(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The options that every command shares; both versions are in the folder and in the registry."""
    for policy, weapons in ((OLD, "no rifles."), (NEW, "no rifles, unless they are toys.")):
        folder = lake.folder / "policies" / "market" / policy.version
        folder.mkdir(parents=True)
        (folder / "policy.md").write_text(TEXT.format(version=policy.version, weapons=weapons))
        (folder / "cases.yaml").write_text("cases:\n  - {id: one, text: a replica, violation: true, rules: [M1]}\n")
    uri = f"sqlite:///{lake.folder}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    from safeguard_spark.tracking.registry import Registry

    for policy, weapons in ((OLD, "no rifles."), (NEW, "no rifles, unless they are toys.")):
        Registry(uri).publish(TEXT.format(version=policy.version, weapons=weapons), "ok", "")
    config = configured(lake).model_dump(mode="json")
    import yaml

    (lake.folder / "conf.yaml").write_text(yaml.safe_dump({
        "engine": {"kind": "scripted", "args": config["engine"]["args"]},
        "policies": str(lake.folder / "policies"), "tracking": {"uri": uri},
    }))  # fmt: skip
    return ["--config", str(lake.folder / "conf.yaml"), "--source", str(lake.posts), "--text-column", "body",
            "--output", str(lake.tables), "--json"]  # fmt: skip


def json_output(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    output: dict[str, object] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return output


@pytest.mark.slow
def test_the_commands_go_from_plan_to_promotion_and_back(
    lake: Lake, published: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from safeguard_spark.tracking.registry import Registry

    registry = Registry(f"sqlite:///{lake.folder}/mlflow.db")
    registry.set_alias("market", "active", "1.0.0")
    registry.set_alias("market", "shadow", "1.1.0")
    lake.write([*posts(160), ("x", "<script>alert(1)</script> a rifle")])
    shadow = ["--policy", "market@active", "--set", "run.shadow_share=0.2"]
    assert run_command(["label", *published, *shadow]) == 0
    first = json_output(capsys)
    assert isinstance(first["shadow"], dict) and 10 < first["shadow"]["rows"] < 60
    assert {row.policy_version for row in lake.current().values()} == {"1.0.0"}

    assert run_command(["relabel", "plan", "--policy", "market@1.1.0", "--share", "0", *published]) == 0
    captured = capsys.readouterr()
    plan = json.loads(captured.out.splitlines()[-1])
    assert "rules changed: M2" in captured.err and f"relabel apply {plan['plan_id']}" in captured.err
    lake.calls()
    assert run_command(["relabel", "apply", str(plan["plan_id"]), "--budget", "5calls", *published]) == 6
    assert lake.calls() <= 5
    capsys.readouterr()
    assert run_command(["relabel", "apply", str(plan["plan_id"]), "--carry", *published]) == 0
    done = json_output(capsys)
    assert done["moved"] is None and done["carried"] and done["status"] == "complete"

    report = tmp_path / "report.html"
    compare = ["relabel", "compare", "market@1.0.0", "market@1.1.0", *published, "--html", str(report)]
    assert run_command([*compare, "--noise-share", "0.5"]) == 0
    captured = capsys.readouterr()
    compared = json.loads(captured.out.splitlines()[-1])
    assert compared["standing"] == "within noise" and "Within noise" in captured.err
    page = report.read_text()
    assert 'class="bar"' in page and "http:" not in page and "<script" not in page
    run = mlflow.MlflowClient(registry.uri).get_run(str(compared["mlflow_run_id"]))
    assert run.data.params["standing"] == "within noise" and run.data.metrics["flipped"] == 0

    assert run_command(["relabel", "promote", "market@1.1.0", *published, "--set", "relabel.gate.min_coverage=1"]) == 0
    assert {row.policy_version for row in lake.current().values()} == {"1.1.0"}
    assert registry.aliases("market") == {"active": "1.1.0", "shadow": "1.1.0"}
    assert "market@1.1.0 is active (replaces 1.0.0); alias active is 1.1.0." in capsys.readouterr().err
    lake.calls()
    assert run_command(["relabel", "promote", "market@1.0.0", *published]) == 0
    assert json_output(capsys)["is_rollback"] is True and lake.calls() == 0
    assert {row.policy_version for row in lake.current().values()} == {"1.0.0"}
    assert registry.aliases("market")["active"] == "1.0.0"

    registry.set_alias("market", "active", "1.1.0")  # as its promotion over other tables does
    assert run_command(["label", *published, "--policy", "market@active"]) == 0
    assert "market@1.1.0 is not active, 1.0.0 is" in str(json_output(capsys)["message"])
    assert {row.policy_version for row in lake.current().values()} == {"1.0.0"}


MISTAKES = [
    (["apply", "p000"], 4, "There is no plan p000"),
    (["compare", "market@1.0.0", "market@1.1.0"], 4, "plan and apply first"),
    (["promote", "market@1.1.0"], 4, "Nothing is labelled"),
]


@pytest.mark.slow
def test_a_mistake_prints_one_error_and_has_its_exit_code(
    lake: Lake, published: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    lake.write(posts(8))
    assert run_command(["relabel", "plan", "--policy", "market@1.1.0", *published]) == 4
    assert "no label tables" in capsys.readouterr().err
    assert run_command(["label", *published, "--policy", "market@1.0.0"]) == 0
    for arguments, code, message in MISTAKES:
        capsys.readouterr()
        assert (run_command(["relabel", *arguments, *published]), arguments) == (code, arguments)
        error = capsys.readouterr().err
        assert message in error and error.count("Error:") == 1
