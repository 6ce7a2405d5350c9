"""What a run says of itself in MLflow, and where: the parts without MLflow."""

from pathlib import Path
from typing import Any

import pytest

from safeguard_spark.config.load import build_config
from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import ConfigError, PolicyError
from safeguard_spark.labelling.labeler import Labeler
from safeguard_spark.labelling.rows import LabelSpec
from safeguard_spark.policy.document import parse_policy
from safeguard_spark.result import RunResult, Status
from safeguard_spark.tracking import runs

pytestmark = pytest.mark.unit

SOURCE = {"name": "t.posts", "version": 3}


def run_config(**sections: Any) -> RunConfig:
    return build_config({"engine": {"kind": "scripted"}, **sections})


def job(name: str = "market", version: str = "1.0.0") -> LabelSpec:
    policy = parse_policy(f"---\nname: {name}\nversion: {version}\n---\nText {version}.\n")
    return LabelSpec(policy, Labeler.of(run_config(), policy))


def result(**given: Any) -> RunResult:
    values: dict[str, Any] = {
        "run_id": "r", "status": Status.complete, "rows": 10, "pending": 8, "calls": 6, "written": 8,
        "outcomes": {"labelled": 6, "empty": 2}, "engine_starts": 1,
        "tokens": {"prompt": 100, "cached": 25, "completion": 30}, "seconds": {"label": 2.0, "total": 3.0},
        "tables": {}, "by_policy": {"market@1.0.0": {"labelled": 6, "empty": 2, "violations": 3}},
    }  # fmt: skip
    return RunResult(**{**values, **given})


# What is logged


def test_parameters_identify_the_run_its_source_policies_and_labelers() -> None:
    one = job()
    found = runs.params(run_config(), [one], SOURCE, (4, 7), result())
    assert found["run_id"] == "r" and found["status"] == "complete"
    assert (found["source"], found["source_version"]) == ("t.posts", 3)
    assert (found["labels_version_in"], found["labels_version_out"]) == (4, 7)
    assert found["config_hash"] == run_config().config_hash
    assert found["policy.market.version"] == "1.0.0"
    assert found["policy.market.policy_hash"] == one.policy.policy_hash
    assert found["policy.market.document_hash"] == one.policy.document_hash
    assert found["policy.market.labeler_hash"] == one.labeler.labeler_hash
    assert found["policy.market.effort"] == "medium"


def test_two_versions_of_a_policy_in_one_run_are_told_apart() -> None:
    jobs = [job(), job(version="2.0.0"), job("spam")]
    found = runs.params(run_config(), jobs, SOURCE, (0, 1), result())
    assert found["policy.market/1.0.0.policy_hash"] == jobs[0].policy.policy_hash
    assert found["policy.market/2.0.0.policy_hash"] == jobs[1].policy.policy_hash
    assert found["policy.spam.policy_hash"] == jobs[2].policy.policy_hash
    counts = {one.policy.ref: {"labelled": 4, "violations": n} for n, one in enumerate(jobs)}
    rates = {name: rate for name, rate in runs.metrics(result(by_policy=counts)).items() if "rate." in name}
    assert rates == {
        "violation_rate.market/1.0.0": 0.0, "violation_rate.market/2.0.0": 0.25, "violation_rate.spam": 0.5,
    }  # fmt: skip


def test_metrics_are_the_runs_numbers() -> None:
    assert runs.metrics(result()) == {
        "rows": 10, "pending": 8, "calls": 6, "written": 8, "engine_starts": 1,
        "outcome.labelled": 6, "outcome.empty": 2,
        "tokens.prompt": 100, "tokens.cached": 25, "tokens.completion": 30,
        "seconds.label": 2.0, "seconds.total": 3.0,
        "rows_per_s": 3.0, "cache_hit_rate": 0.25, "violation_rate.market": 0.5,
    }  # fmt: skip


def test_a_run_that_had_nothing_to_do_has_no_rates() -> None:
    idle = result(calls=0, tokens={}, seconds={}, by_policy={})
    assert not [name for name in runs.metrics(idle) if "rate" in name or "per_s" in name]
    unread = result(by_policy={"market@1.0.0": {"refused": 2, "violations": 0}})
    assert "violation_rate.market" not in runs.metrics(unread)


def test_what_the_light_classifier_decided_counts_in_the_rate() -> None:
    counts = {"market@1.0.0": {"labelled": 1, "screened": 3, "violations": 2, "refused": 5}}
    assert runs.metrics(result(by_policy=counts))["violation_rate.market"] == 0.5


def test_the_picture_has_a_bar_per_policy_whose_parts_are_its_rows() -> None:
    counts = {"a@1.0.0": {"labelled": 4, "screened": 2, "refused": 3, "violations": 1}, "b@1.0.0": {"violations": 0}}
    axes = runs.distribution(result(by_policy=counts)).axes[0]
    widths = {bars.get_label(): [bar.get_width() for bar in bars] for bars in axes.containers}
    assert widths == {"violation": [1, 0], "no violation": [5, 0], "no verdict": [3, 0]}
    assert runs.distribution(result(by_policy={})).axes[0].get_xlabel() == "rows written"


# Where


def test_runs_are_logged_where_configuration_then_environment_say_else_beside_the_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = str(tmp_path / "new" / "tables")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://other")
    assert runs.tracking_uri(run_config(output=output, tracking={"uri": "http://here"})) == "http://here"
    assert runs.tracking_uri(run_config(output=output)) == "http://other"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert runs.tracking_uri(run_config(output=output)) == f"sqlite:///{output}/mlflow.db"
    monkeypatch.chdir(tmp_path)
    for elsewhere in ("main.trust", "s3://bucket/tables", None):
        assert runs.tracking_uri(run_config(output=elsewhere)) == f"sqlite:///{tmp_path}/mlflow.db"


def test_policies_are_published_beside_their_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    uri = runs.registry_uri(run_config(policies=str(tmp_path / "policies"), output="elsewhere/tables"))
    assert uri == f"sqlite:///{tmp_path}/mlflow.db" and not runs.registry_exists(uri)
    (tmp_path / "mlflow.db").touch()
    assert runs.registry_exists(uri) and runs.registry_exists("http://anywhere")


def test_what_a_store_raises_is_one_sentence_without_a_password_and_our_own_errors_stay() -> None:
    uri = "postgresql://me:sesame@host/db"
    with pytest.raises(ConfigError) as caught, runs.answering(uri):
        raise RuntimeError(f"cannot open {uri}\nsecond line")
    said = "MLflow at postgresql://host/db cannot be used: cannot open postgresql://host/db"
    assert str(caught.value) == said
    with pytest.raises(PolicyError, match="mine"), runs.answering(uri):
        raise PolicyError("mine")
