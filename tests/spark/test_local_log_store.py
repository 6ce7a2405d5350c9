"""Commits to folders: of several programs that commit at once, one wins, and whatever lies in the log is read."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError
from deltalake.transaction import AddAction
from py4j.protocol import Py4JJavaError  # type: ignore[import-untyped]

from safeguard_spark.spark.jars import LOCAL_LOG_STORE
from safeguard_spark.spark.log_store import EXISTS
from tests.soak.job import REPOSITORY
from tests.spark.lake import Lake

pytestmark = pytest.mark.spark
ROUNDS = 300


def log_file(table: Path, version: int) -> Path:
    return table / "_delta_log" / f"{version:020}.json"


def names(table: Path) -> set[str]:
    return {file.name for file in (table / "_delta_log").iterdir()}


def store_of(lake: Lake, table: Path) -> Any:
    """The log store that Delta uses for a folder, in Java."""
    jvm: Any = lake.spark._jvm
    log = jvm.org.apache.spark.sql.delta.DeltaLog.forTable(lake.spark._jsparkSession, str(table))
    return log.store().getDelegate(log.logPath()).logStoreImpl()


def write(lake: Lake, file: Path, *lines: str, overwrite: bool = False) -> None:
    """Write a file of the log as Delta does."""
    jvm: Any = lake.spark._jvm
    conf = lake.spark._jsparkSession.sessionState().newHadoopConf()
    path = jvm.org.apache.hadoop.fs.Path(file.as_uri())
    store_of(lake, file.parents[1]).write(path, jvm.java.util.List.of(*lines).iterator(), overwrite, conf)


def test_a_table_in_a_folder_has_our_log_store_and_is_written_read_and_overwritten(lake: Lake) -> None:
    table, interval = lake.posts, "spark.databricks.delta.properties.defaults.checkpointInterval"
    lake.spark.conf.set(interval, "2")
    try:
        lake.write([("p0", "text")])
    finally:
        lake.spark.conf.unset(interval)
    for number in range(1, 4):
        lake.write([(f"p{number}", "text")])
    assert store_of(lake, table).getClass().getName() == LOCAL_LOG_STORE
    lake.write([("last", "Grüße, 你好 👋")], mode="overwrite")
    assert '"version":4' in (table / "_delta_log" / "_last_checkpoint").read_text()  # written twice
    assert [row.body for row in lake.spark.read.format("delta").load(str(table)).collect()] == ["Grüße, 你好 👋"]
    assert DeltaTable(table).to_pyarrow_table().to_pylist() == [{"id": "last", "body": "Grüße, 你好 👋"}]
    assert {log_file(table, version).name for version in range(5)} | {"_last_checkpoint"} <= names(table)
    assert not [name for name in names(table) if name.endswith(".tmp")]
    assert {log_file(table, 0).stat().st_mode & 0o777} == {
        file.stat().st_mode & 0o777 for file in table.glob("*.parquet")
    }


def test_a_commit_that_exists_is_not_replaced_and_the_pointer_to_the_checkpoint_is(lake: Lake) -> None:
    lake.write([("p0", "text")])
    first, pointer = log_file(lake.posts, 0), lake.posts / "_delta_log" / "_last_checkpoint"
    before = first.read_text()
    with pytest.raises(Py4JJavaError) as error:
        write(lake, first, "{}")
    assert error.value.java_exception.getClass().getName() == EXISTS
    assert first.read_text() == before
    for lines in (("one",), ("two", "three")):
        write(lake, pointer, *lines, overwrite=True)
        assert pointer.read_text() == "".join(f"{line}\n" for line in lines)
    assert not [name for name in names(lake.posts) if name.endswith(".tmp")]


def test_what_killed_programs_and_other_log_stores_leave_in_the_log_is_passed_over(lake: Lake) -> None:
    lake.write([("p0", "text")])
    next_commit = log_file(lake.posts, 1)
    draft = next_commit.with_name(f".{next_commit.name}.0b7ad3f2-6f0c-4f0e-9d8e-3c1d1a5f5a10.tmp")
    draft.write_text('{"half of a com')
    # A checksum of other bytes: Hadoop's own form, of which the default log store leaves some.
    next_commit.with_name(f".{next_commit.name}.crc").write_bytes(b"crc\x00\x00\x00\x02\x00" + bytes(4))
    linked = log_file(lake.posts, 0).with_name(f".{log_file(lake.posts, 0).name}.9a1c.tmp")
    os.link(log_file(lake.posts, 0), linked)  # killed after the link, before its draft was removed
    lake.write([("p1", "text")])
    assert lake.spark.read.format("delta").load(str(lake.posts)).count() == 2
    assert DeltaTable(lake.posts).version() == 1
    assert draft.exists() and f".{next_commit.name}.crc" not in names(lake.posts)


@contextmanager
def program(folder: Path, writer: str, **variables: str) -> Iterator["subprocess.Popen[str]"]:
    """A Spark program that commits to a folder when it is told to."""
    command, pipe = [sys.executable, "-m", "tests.spark.commit_program", str(folder), writer], subprocess.PIPE
    environment = {**os.environ, **variables}
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=REPOSITORY, env=environment) as process:
        assert process.stdout is not None and process.stdin is not None
        yield process
        process.stdin.close()


def tell(process: "subprocess.Popen[str]", version: int, moment: float) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{version} {moment}\n")
    process.stdin.flush()


def answer(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.slow
def test_of_two_spark_programs_that_write_a_commit_at_once_one_wins(tmp_path: Path) -> None:
    folder = tmp_path / "_delta_log"
    folder.mkdir()
    outcomes = []
    with program(folder, "a") as first, program(folder, "b") as second:
        assert answer(first) == answer(second) == "ready"
        for version in range(ROUNDS):
            moment = time.time() + 0.02
            for process in (first, second):
                tell(process, version, moment)
            outcomes.append((answer(first), answer(second)))
            winner = "a" if outcomes[-1][0] == "won" else "b"
            assert f'"{winner}"' in log_file(tmp_path, version).read_text()
    assert {*outcomes} <= {("won", "lost"), ("lost", "won")}
    print(f"The first program won {outcomes.count(('won', 'lost'))} of {ROUNDS}")


@pytest.mark.slow
def test_of_a_spark_program_and_delta_rs_that_write_a_commit_at_once_one_wins(tmp_path: Path) -> None:
    import pyarrow as pa

    write_deltalake(tmp_path, pa.table({"id": ["p0"]}))
    outcomes, delay_s = [], 0.0
    once = CommitProperties(max_commit_retries=0)
    with program(tmp_path / "_delta_log", "spark") as process:
        assert answer(process) == "ready"
        for version in range(1, ROUNDS + 1):
            table, moment = DeltaTable(tmp_path), time.time() + 0.05
            added = AddAction(f"{version}.parquet", 1, {}, 0, True, "{}")
            tell(process, version, moment)
            time.sleep(max(0.0, moment + delay_s - time.time()))
            try:
                table.create_write_transaction([added], "append", table.schema(), commit_properties=once)
                own = "won"
            except CommitFailedError:
                own = "lost"
            outcomes.append((own, answer(process)))
            assert ('"add"' in log_file(tmp_path, version).read_text()) == (own == "won")
            delay_s += 0.0002 if own == "won" else -0.0002  # towards the moment at which the other one commits
    assert {*outcomes} == {("won", "lost"), ("lost", "won")}
    print(f"delta-rs won {outcomes.count(('won', 'lost'))} of {ROUNDS}, {delay_s * 1000:.1f} ms after the other began")


@pytest.mark.slow
def test_in_a_file_system_without_hard_links_commits_are_written_as_delta_writes_them(tmp_path: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler, with which link() is made to fail as such file systems do")
    source, library, folder = tmp_path / "no_links.c", tmp_path / "no_links.so", tmp_path / "_delta_log"
    source.write_text("#include <errno.h>\nint link(const char *old, const char *new) { errno = EPERM; return -1; }\n")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    folder.mkdir()
    with program(folder, "a", LD_PRELOAD=str(library)) as process:
        assert answer(process) == "ready"
        outcomes = []
        for version in (0, 1, 1):
            tell(process, version, 0)
            outcomes.append(answer(process))
    assert outcomes == ["won", "won", "lost"]
    commits = {name for name in names(tmp_path) if not name.startswith(".")}  # Delta's log store leaves a checksum
    assert commits == {log_file(tmp_path, version).name for version in (0, 1)}
    assert '"a"' in log_file(tmp_path, 1).read_text()
