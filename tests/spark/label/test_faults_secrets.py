"""Content is not in logs, errors or MLflow; secrets are not in tables or Spark's configuration either."""

import json
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from safeguard_spark.cli.app import run_command
from tests.build import policy_text, posts
from tests.faulty_server import Behavior, Call, FaultyServer, always, malformed, row_of, status
from tests.soak.job import CONF, LabelJob
from tests.spark.lake import Lake

pytestmark = pytest.mark.spark
CANARY = "c4n4ry"
SECRET = "s3cr3t-0f-0urs"
MAY_HOLD = ("posts", "tables/labels", "tables/reasoning", "conf.yaml")  # content, the model's answers, our own input


def leaks(folder: Path, text: str) -> list[str]:
    """Files below a folder with a text in their name or bytes, except for those that may hold it."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    by_name = {str(path.relative_to(folder)): path for path in files}
    return [
        name
        for name, path in by_name.items()
        if not name.startswith(MAY_HOLD) and (text in name or text.encode() in path.read_bytes())
    ]


@pytest.mark.slow
def test_no_content_and_no_secret_in_anything_a_run_writes(tmp_path: Path) -> None:
    sections = {
        "tracking": {"enabled": True},
        "engine": {
            "kind": "scripted",
            "args": {"misbehave": {"zzrefuse": "refuse", "zzgarbage": "garbage", "zzfail": "fail"}},
        },
        "spark": {"master": "local[2]", "conf": {**CONF, "spark.hadoop.fs.s3a.secret.key": SECRET}},
    }
    job = LabelJob(tmp_path, sections=sections)
    job.write(
        [(f"{word}{n}", f"{word} {CANARY} {n}") for n in range(10) for word in ("zzrefuse", "zzgarbage", "zzfail")]
    )
    try:
        job.start()
        assert job.wait() == 6  # some rows failed
        job.start("--set", f"run.staging={tmp_path}/conf.yaml/staging")  # a failure in the middle of the plan
        assert job.wait() == 4
    finally:
        job.end()
    assert (tmp_path / "tables" / "mlflow.db").exists() and list((tmp_path / "tmp").glob("safeguard-spark-*.log"))
    assert "attempt" in job.stderr_tail() or "issue the same command again" in job.stderr_tail()
    assert not leaks(tmp_path, CANARY)
    assert not leaks(tmp_path, SECRET)


@pytest.mark.slow
@pytest.mark.parametrize("behavior", [status(400, raw=CANARY.encode()), malformed(CANARY.encode()), status(500)])
def test_a_servers_message_about_a_content_is_neither_printed_nor_stored(
    lake: Lake, behavior: Behavior, capfd: pytest.CaptureFixture[str]
) -> None:
    lake.write(posts(3, f"{CANARY} row {{n}}"))
    (lake.folder / "policy.md").write_text(policy_text())

    def script(call: Call) -> Behavior:
        return behavior if row_of(call.text) == 1 else Behavior()

    with FaultyServer(script) as server:
        engine = {"kind": "endpoint", "url": server.url, "model": "m", "deadline_s": 20.0, "retries": 1}
        (lake.folder / "conf.yaml").write_text(json.dumps({"engine": engine, "tracking": {"enabled": False}}))
        code = run_command([
            "label", "--config", str(lake.folder / "conf.yaml"), "--source", str(lake.posts), "--text-column", "body",
            "--policy", str(lake.folder / "policy.md"), "--output", str(lake.tables), "--json",
        ])  # fmt: skip
    printed = capfd.readouterr()
    assert code == 6
    assert CANARY not in printed.out + printed.err
    errors = {row.content_id: row.error for row in lake.read("labels").collect()}
    assert errors["p1"] and CANARY not in errors["p1"]


def test_an_api_key_is_neither_in_sparks_configuration_nor_in_the_tables(
    lake: Lake, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.write([("a", "row 1")])
    monkeypatch.setenv("OUR_ENGINE_KEY", SECRET)
    with FaultyServer(always(status(401))) as server:
        engine = {"kind": "endpoint", "url": server.url, "model": "m", "api_key_env": "OUR_ENGINE_KEY"}
        with pytest.raises(Exception, match=r"engine\.api_key_env") as caught:
            lake.label(engine=engine)
    assert SECRET not in str(caught.value)
    settings = [*spark.sparkContext.getConf().getAll(), *spark.conf.getAll.items()]
    assert SECRET not in str(settings)
    assert not leaks(lake.folder, SECRET)
