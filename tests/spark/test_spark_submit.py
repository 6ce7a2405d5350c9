"""The label job under spark-submit, started with the line that opens its script."""

import ast
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from safeguard_spark.spark.jars import LOCAL_LOG_STORE, LOG_STORES_JAR
from tests.soak.conserved import assert_conserved
from tests.soak.job import CONF, REPOSITORY, LabelJob

pytestmark = [pytest.mark.spark, pytest.mark.slow]

SETTINGS = """
import sys
from safeguard_spark.config.load import build_config
from safeguard_spark.spark.session import session

conf = {"spark.sql.shuffle.partitions": "7", "spark.ours": "set"}
spark = session(build_config({"engine": {"kind": "scripted"}, "spark": {"master": "local[1]", "conf": conf}}))
print(*(spark.conf.get(key) for key in sys.argv[1:]))
"""


def documented_line() -> tuple[list[str], list[str]]:
    """The words of the line in jobs/label.py: spark-submit's own, and the script's."""
    docstring = ast.get_docstring(ast.parse((REPOSITORY / "jobs" / "label.py").read_text(encoding="utf-8"))) or ""
    words = shlex.split(docstring.split("\n\n")[1])
    script = words.index("jobs/label.py")
    return words[:script], words[script:]


def submit(own: list[str], script: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a script on two local cores, from the repository's root."""
    assert own[0] == "spark-submit"
    from pyspark import find_spark_home

    home = find_spark_home._find_spark_home()
    local = [f"{home}/bin/spark-submit", "--master", "local[2]"]
    for key, value in {**CONF, "spark.jars.ivySettings": f"{REPOSITORY}/safeguard_spark/spark/ivysettings.xml"}.items():
        local += ["--conf", f"{key}={value}"]
    env = {**os.environ, "SPARK_HOME": home, "PYSPARK_PYTHON": sys.executable, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run([*local, *own[1:], *script], cwd=REPOSITORY, env=env, capture_output=True, text=True)


@pytest.fixture
def job(tmp_path: Path) -> LabelJob:
    job = LabelJob(tmp_path, policies=["market"], sections={"spark": {}})
    job.add(120)
    return job


def of_job(job: LabelJob, words: list[str]) -> list[str]:
    """The script's documented arguments, over a job's own files."""
    values = {"--config": "conf.yaml", "--source": "posts", "--policy": "market.md", "--output": "tables"}
    paths = {option: str(job.folder / name) for option, name in values.items()}
    assert paths.keys() <= {*words}
    return [paths.get(before, word) for before, word in zip(["", *words], words, strict=False)]


def test_the_documented_line_labels_every_row_and_again_has_nothing_to_do(job: LabelJob) -> None:
    own, script = documented_line()
    for _ in range(2):
        done = submit(own, of_job(job, script))
        assert done.returncode == 0, done.stderr[-2000:]
        assert '"status": "complete"' in done.stdout.splitlines()[-1]
        assert_conserved(job, 0)


def test_without_the_package_of_delta_one_sentence_says_what_is_missing(job: LabelJob) -> None:
    own, script = documented_line()
    package = own.index("--packages")
    done = submit([*own[:package], *own[package + 2 :]], of_job(job, script))
    # spark-submit sends what the script prints to stderr to stdout.
    errors = [line for line in done.stdout.splitlines() if line.startswith("Error")]
    assert (done.returncode, len(errors)) == (2, 1), done.stderr[-2000:]
    assert errors[0].startswith("Error: Spark runs without Delta Lake. Start it with --packages")
    assert not job.tables.exists()


def test_settings_of_spark_submit_override_those_of_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "settings.py").write_text(SETTINGS)
    expected = {
        "spark.master": "local[2]", "spark.app.name": "nightly", "spark.sql.shuffle.partitions": "3",
        "spark.scheduler.mode": "FIFO", "spark.ours": "set", "spark.ui.enabled": "true",
        # These are added to ours; Spark warns about a class that it cannot find.
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension,com.example.Theirs",
    }  # fmt: skip
    given = ["--name", "nightly", "--conf", "spark.sql.shuffle.partitions=3", "--conf", "spark.scheduler.mode=FIFO"]
    given += ["--conf", "spark.sql.extensions=com.example.Theirs", "--conf", "spark.ui.enabled=true"]
    done = submit([*documented_line()[0], *given], [str(tmp_path / "settings.py"), *expected])
    assert done.stdout.splitlines()[-1].split() == [*expected.values()], done.stderr[-2000:]


def test_our_log_store_for_folders_comes_with_its_jar_unless_another_is_set(tmp_path: Path) -> None:
    (tmp_path / "settings.py").write_text(SETTINGS)
    key, deltas = "spark.delta.logStore.file.impl", "io.delta.storage.HDFSLogStore"
    for given, expected in (([], LOCAL_LOG_STORE), (["--conf", f"{key}={deltas}"], deltas)):
        own = [*documented_line()[0], "--jars", str(LOG_STORES_JAR), *given]
        done = submit(own, [str(tmp_path / "settings.py"), key])
        assert done.stdout.splitlines()[-1] == expected, done.stderr[-2000:]
