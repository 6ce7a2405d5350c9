"""The files in deploy/ use keys, variables, commands and options of this release; a stale one is found in each."""

import json
import re
import subprocess
from pathlib import Path

import duckdb
import pytest
import yaml

from safeguard_spark import __version__, schema, views
from safeguard_spark.config.load import build_config
from safeguard_spark.spark.jars import LOG_STORES_JAR, S3_LOG_STORE
from safeguard_spark.spark.session import DATABRICKS
from safeguard_spark.spark.shared import require_volume
from safeguard_spark.tracking.registry import Registry
from tests.deploy.keys import knows_something, problems
from tests.unit.test_docs import _duck
from tools.rooms import ROOT

pytestmark = pytest.mark.unit
DEPLOY = ROOT / "deploy"
FILES = sorted(file for file in DEPLOY.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
STALE = {
    "docker/Dockerfile": ("SAFEGUARD_SETS", "SAFEGUARD_SETZ"),
    "docker/review.Dockerfile": ("SAFEGUARD_POLICIES", "SAFEGUARD_POLICY_FOLDER"),
    "kubernetes/configuration.yaml": ("chunk_rows:", "chunk_size:"),
    "kubernetes/label.yaml": ("--config", "--configuration"),
    "kubernetes/evaluate.yaml": ("--policy", "--polices"),
    "kubernetes/maintain.yaml": ('"optimize"', '"optimise"'),
    "kubernetes/relabel.yaml": ("--carry", "--carry-over"),
    "kubernetes/review.yaml": ("SAFEGUARD_REVIEW__HOST", "SAFEGUARD_REVIEW__ADDRESS"),
    "databricks/conf.yaml": ("model_name:", "modelname:"),
    "databricks/resources/jobs.yml": ("--text-column", "--text"),
    "airflow/safeguard_dag.py": ("--budget", "--budgets"),
    "yarn/submit.sh": ("--text-column", "--text"),
}


def name(file: Path) -> str:
    return str(file.relative_to(DEPLOY))


@pytest.mark.parametrize("file", FILES, ids=name)
def test_every_key_variable_command_and_option_is_one_of_this_release(file: Path) -> None:
    assert problems(file) == []
    assert set(re.findall(r"safeguard[-_](?:spark|review)[-:](\d+\.\d+\.\d+)", file.read_text())) <= {__version__}


@pytest.mark.parametrize("file", [file for file in FILES if knows_something(file)], ids=name)
def test_a_stale_one_is_found_in_each_file(file: Path, tmp_path: Path) -> None:
    now, stale = STALE[name(file)]
    text = file.read_text(encoding="utf-8")
    assert now in text
    (tmp_path / file.name).write_text(text.replace(now, stale), encoding="utf-8")
    assert problems(tmp_path / file.name)


def test_the_queries_of_the_dashboard_and_of_the_alert_read_columns_that_exist() -> None:
    datasets = json.loads((DEPLOY / "databricks/labels.lvdash.json").read_text())["datasets"]
    alert = (
        (DEPLOY / "databricks/resources/watch.yml").read_text().partition("query_text: >-")[2].partition("schedule")[0]
    )
    with duckdb.connect() as db:
        for table in schema.TABLES:
            db.execute(f"CREATE TABLE {table.name} ({', '.join(f'{c.name} {_duck(c.type)}' for c in table.columns)})")
        db.execute(f"CREATE VIEW labels_current AS {views.labels_current('labels', 'policy_activations')}")
        for view, table in views.NEWEST_DOCUMENTS.items():
            db.execute(f"CREATE VIEW {view} AS {views.newest_documents(table, table.name)}")
        for query in ["".join(dataset["queryLines"]) for dataset in datasets] + [alert]:
            sql = query.replace("main.trust.", "").replace("current_timestamp()", "CAST(now() AS TIMESTAMP)")
            db.execute(sql).fetchall()


def test_the_configurations_are_not_refused_where_they_are_meant_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DATABRICKS, "18.0")
    config = build_config(yaml.safe_load((DEPLOY / "databricks/conf.yaml").read_text()))
    require_volume(config)
    assert not Registry.of(config).lacks_schema
    configuration = yaml.safe_load((DEPLOY / "kubernetes/configuration.yaml").read_text())
    scheme = yaml.safe_load(configuration["data"]["conf.yaml"])["output"].partition(":")[0]
    applications = [
        text for file in FILES if "SparkApplication" in (text := file.read_text()) and file.suffix == ".yaml"
    ]
    assert len(applications) == 4
    for text in applications:
        assert f"spark.delta.logStore.{scheme}.impl: {S3_LOG_STORE}\n" in text
        assert f'/{LOG_STORES_JAR.relative_to(ROOT)}"]\n' in text


def test_the_submit_script_hands_its_arguments_to_the_job(tmp_path: Path) -> None:
    fake = tmp_path / "spark-submit"
    fake.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    fake.chmod(0o755)
    script = [str(DEPLOY / "yarn/submit.sh"), "label", "--source", "two words"]
    done = subprocess.run(script, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True, check=True)
    words = done.stdout.splitlines()
    assert "spark.pyspark.driver.python=python3" in words, "the archive is not unpacked where the driver runs"
    assert words[words.index(str(ROOT / "jobs/label.py")) + 1 :] == ["--source", "two words"]
