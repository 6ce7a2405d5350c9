"""The parameters and metrics of an MLflow run, computed without MLflow."""

import pytest

from safeguard_spark.tracking import runs
from tests.build import label_spec, policy, run_config, run_result

pytestmark = pytest.mark.unit

SOURCE = {"name": "t.posts", "version": 3}


def test_parameters_identify_the_run_its_source_policies_and_labelers() -> None:
    spec = label_spec(policy())
    params = runs.params(run_config(), [spec], SOURCE, (4, 7), run_result())
    assert params["run_id"] == "r" and params["status"] == "complete"
    assert (params["source"], params["source_version"]) == ("t.posts", 3)
    assert (params["labels_version_in"], params["labels_version_out"]) == (4, 7)
    assert params["config_hash"] == run_config().config_hash
    assert params["policy.market.version"] == "1.0.0"
    assert params["policy.market.policy_hash"] == spec.policy.policy_hash
    assert params["policy.market.document_hash"] == spec.policy.document_hash
    assert params["policy.market.labeler_hash"] == spec.labeler.labeler_hash
    assert params["policy.market.effort"] == "medium"


def test_two_versions_of_a_policy_in_one_run_are_told_apart() -> None:
    specs = [label_spec(policy()), label_spec(policy(version="2.0.0")), label_spec(policy("spam"))]
    params = runs.params(run_config(), specs, SOURCE, (0, 1), run_result())
    assert params["policy.market/1.0.0.policy_hash"] == specs[0].policy.policy_hash
    assert params["policy.market/2.0.0.policy_hash"] == specs[1].policy.policy_hash
    assert params["policy.spam.policy_hash"] == specs[2].policy.policy_hash
    counts = {spec.policy.ref: {"labelled": 4, "violations": n} for n, spec in enumerate(specs)}
    rates = {name: rate for name, rate in runs.metrics(run_result(by_policy=counts)).items() if "rate." in name}
    assert rates == {
        "violation_rate.market/1.0.0": 0.0, "violation_rate.market/2.0.0": 0.25, "violation_rate.spam": 0.5,
    }  # fmt: skip


def test_metrics_are_the_runs_numbers() -> None:
    assert runs.metrics(run_result()) == {
        "rows": 10, "pending": 8, "calls": 6, "written": 8, "engine_starts": 1,
        "outcome.labelled": 6, "outcome.empty": 2,
        "tokens.prompt": 100, "tokens.cached": 25, "tokens.completion": 30,
        "seconds.label": 2.0, "seconds.total": 3.0,
        "rows_per_s": 3.0, "cache_hit_rate": 0.25, "violation_rate.market": 0.5,
    }  # fmt: skip


def test_a_run_that_had_nothing_to_do_has_no_rates() -> None:
    idle = run_result(calls=0, tokens={}, seconds={}, by_policy={})
    assert not [name for name in runs.metrics(idle) if "rate" in name or "per_s" in name]
    unread = run_result(by_policy={"market@1.0.0": {"refused": 2, "violations": 0}})
    assert "violation_rate.market" not in runs.metrics(unread)


def test_contents_decided_by_the_light_classifier_count_in_the_rate() -> None:
    counts = {"market@1.0.0": {"labelled": 1, "screened": 3, "violations": 2, "refused": 5}}
    assert runs.metrics(run_result(by_policy=counts))["violation_rate.market"] == 0.5
