"""One MLflow run per run of the label job, in a real sqlite store."""

from pathlib import Path

import mlflow
import pytest

from tests.build import policy, posts
from tests.spark.lake import Lake

pytestmark = pytest.mark.spark


def test_a_run_can_be_read_back_from_mlflow(lake: Lake) -> None:
    lake.write([*posts(40, "a replica {n}", *["a table {n}"] * 3), ("e", "")])
    result = lake.label(tracking={"enabled": True})
    client = mlflow.MlflowClient(f"sqlite:///{lake.tables}/mlflow.db")
    run = client.get_run(str(result.mlflow_run_id))
    assert run.info.status == "FINISHED"
    assert run.data.params["policy.market.policy_hash"] == policy().policy_hash
    assert run.data.params["source_version"] == "0"
    assert run.data.metrics["outcome.labelled"] == 40 and run.data.metrics["outcome.empty"] == 1
    assert run.data.metrics["violation_rate.market"] == 0.25
    assert run.data.metrics["tokens.prompt"] == result.tokens["prompt"] > 0
    names = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert names == {"config.json", "policies", "tables.json"}
    folder = client.download_artifacts(run.info.run_id, "policies/market@1.0.0.md")
    assert policy().body in Path(folder).read_text(encoding="utf-8")
    assert run.inputs.dataset_inputs[0].dataset.name == "source"
    assert lake.read("runs").first().mlflow_run_id == run.info.run_id  # type: ignore[union-attr]
