"""Random histories of a source: after each run the labels are those of a full run, and only new contents were called.

The seeds are fixed here; HISTORY_SEED sets another.
"""

import contextlib
import os
import random
import sys
import time
from collections.abc import Callable

import psutil
import pytest
from pyspark.errors import PySparkException

from safeguard_spark.config.model import RunConfig
from safeguard_spark.labelling.content import text_hash
from safeguard_spark.relabel.budget import Budget
from safeguard_spark.result import RunResult, Status
from safeguard_spark.spark.label.job import label_table
from safeguard_spark.spark.label.run import Selection
from tests.build import policy, policy_text
from tests.spark.lake import Lake

pytestmark = [pytest.mark.spark, pytest.mark.slow]

SEED = int(os.environ.get("HISTORY_SEED", "3"))
SEEDS_OF_KILLS = [int(os.environ["HISTORY_SEED"])] if "HISTORY_SEED" in os.environ else [20, 21]
WORDS = ("a table", "a replica", "a rifle", "a lamp")
NO_CHECK = "spark.databricks.delta.retentionDurationCheck.enabled"
VERDICT = ("content_hash", "work_key", "outcome", "violation", "category", "rule_ids", "rationale")


class History:
    """A source that changes at random. `called` are the hashes of the contents that have a label."""

    def __init__(self, lake: Lake, seed: int) -> None:
        self.lake, self.rng, self.called = lake, random.Random(seed), set[str]()
        self.table, self.number, self.columns = f"delta.`{lake.posts}`", 0, 0
        self.steps, self.changes, self.is_killed = list[str](), CHANGES, False
        lake.write([(f"p{n}", self.text()) for n in range(12)])

    def text(self) -> str:
        """A content, which other ids may have or have had."""
        self.number += self.rng.random() < 0.7
        return f"{self.rng.choice(WORDS)}, number {self.number}"

    def rows(self) -> dict[str, str]:
        """The source, by id."""
        rows = self.lake.spark.read.format("delta").load(str(self.lake.posts)).collect()
        return {row.id: row.body for row in rows}

    def step(self) -> None:
        """Change the source in one way."""
        change = self.rng.choice(self.changes)
        self.steps.append(change.__name__)
        change(self)

    def append(self) -> None:
        existing = self.rows()
        new = [id for n in self.rng.sample(range(40), 4) if (id := f"p{n}") not in existing]
        self.lake.write([(id, self.text()) for id in new])

    def update(self) -> None:
        for id in self._some():
            self._sql(f"UPDATE {self.table} SET body = '{self.text()}' WHERE id = '{id}'")

    def delete(self) -> None:
        for id in self._some():
            self._sql(f"DELETE FROM {self.table} WHERE id = '{id}'")

    def merge(self) -> None:
        rows = {id: self.text() for id in [*self._some(), f"p{self.rng.randrange(40)}"]}
        self.lake.spark.createDataFrame([*rows.items()], "id STRING, body STRING").createOrReplaceTempView("upserts")
        self._sql(
            f"MERGE INTO {self.table} t USING upserts s ON t.id = s.id WHEN MATCHED THEN UPDATE SET t.body = s.body "
            "WHEN NOT MATCHED THEN INSERT (id, body) VALUES (s.id, s.body)"
        )

    def overwrite(self) -> None:
        rows = {id: text if self.rng.random() < 0.6 else self.text() for id, text in self.rows().items()}
        self.lake.write([*rows.items()], mode="overwrite")

    def restore(self) -> None:
        version = self.lake.spark.sql(f"DESCRIBE HISTORY {self.table} LIMIT 1").collect()[0].version
        try:
            self._sql(f"RESTORE TABLE {self.table} TO VERSION AS OF {max(0, version - self.rng.randint(1, 3))}")
        except PySparkException:
            self.steps[-1] += " (its files are gone)"

    def optimize(self) -> None:
        self._sql(f"OPTIMIZE {self.table}")

    def vacuum(self) -> None:
        self.lake.spark.conf.set(NO_CHECK, "false")
        self._sql(f"VACUUM {self.table} RETAIN 0 HOURS")
        self.lake.spark.conf.unset(NO_CHECK)

    def add_column(self) -> None:
        self.columns += 1
        self._sql(f"ALTER TABLE {self.table} ADD COLUMNS (more{self.columns} STRING)")

    def enable_feed(self) -> None:
        self._sql(f"ALTER TABLE {self.table} SET TBLPROPERTIES (delta.enableChangeDataFeed = true)")

    def pass_retention(self) -> None:
        """Delete what is older than a checkpoint from the log, as Delta does in time."""
        jvm = self.lake.spark._jvm
        assert jvm is not None
        jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()
        log = jvm.org.apache.spark.sql.delta.DeltaLog.forTable(self.lake.spark._jsparkSession, str(self.lake.posts))
        log.checkpoint()
        entries = sorted(self.lake.posts.glob("_delta_log/*.json"))
        for entry in entries[:-1]:
            entry.unlink()
            entry.with_suffix(".crc").unlink(missing_ok=True)
        jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()

    def stop_early(self) -> None:
        """A run that ends after a commit, with work left."""
        self._label(Selection(budget=Budget(calls=self.rng.randint(1, 2))))

    def kill_run(self) -> None:
        """A run that is killed with all of its processes, at a random moment from its plan on."""
        config, text = self.lake.folder / "killed.json", self.lake.folder / "policy.md"
        config.write_text(self._config().model_dump_json(exclude_unset=True))
        text.write_text(policy_text())
        staging = self.lake.tables / "_staging"
        before, delay_s = {*staging.glob("*")}, self.rng.uniform(0, 10)
        command = [sys.executable, "-m", "safeguard_spark", "label", "--config", str(config), "--policy", str(text)]
        with (self.lake.folder / "killed.log").open("w") as log:
            process = psutil.Popen(command, stdout=log, stderr=log)
        while process.poll() is None and {*staging.glob("*")} <= before:
            time.sleep(0.05)
        with contextlib.suppress(psutil.TimeoutExpired):
            process.wait(delay_s)
        if process.is_running():
            for one in [process, *process.children(recursive=True)]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.kill()
            process.wait()
            self.steps[-1] += f" (after {delay_s:.1f} s)"
        self.lake.calls()
        self._note_labels()
        self.is_killed = True  # answers may be staged

    def run(self) -> None:
        """Label, and compare with the source."""
        hashes = {id: text_hash(text) for id, text in self.rows().items()}
        new = len(set(hashes.values()) - self.called)
        result = self._label(Selection())
        assert result.status is Status.complete, (self.steps, result.message)
        assert result.rows == len(hashes), (self.steps, result.candidates)
        assert result.calls == new or (self.is_killed and result.calls < new), (self.steps, result.candidates)
        self.is_killed = False
        current = self.lake.current()
        assert {id: current[id].content_hash for id in hashes} == hashes, (self.steps, result.candidates)

    def compare_with_full_run(self) -> None:
        """A run from scratch gives every content of the source the same label."""
        current, folder = self.lake.current(), self.lake.folder / "scratch"
        scratch = Lake(self.lake.spark, folder, self.lake.empty)
        scratch.label(source={"location": str(self.lake.posts)})
        expected = {id: [row[name] for name in VERDICT] for id, row in scratch.current().items()}
        assert {id: [current[id][name] for name in VERDICT] for id in expected} == expected, self.steps

    def _label(self, selection: Selection) -> RunResult:
        self.lake.create()
        result = label_table(self.lake.spark, self._config(), [policy()], show=False, selection=selection)
        assert self.lake.calls() == result.calls, self.steps
        self._note_labels()
        return result

    def _config(self) -> RunConfig:
        return self.lake.config(run={"chunk_rows": 4})

    def _note_labels(self) -> None:
        self.called = {row[0] for row in self.lake.read("labels").select("content_hash").distinct().collect()}

    def _some(self) -> list[str]:
        ids = sorted(self.rows())
        return self.rng.sample(ids, min(len(ids), self.rng.randint(1, 2)))

    def _sql(self, text: str) -> None:
        self.lake.spark.sql(text)


CHANGES: tuple[Callable[[History], None], ...] = (
    History.append, History.append, History.update, History.delete, History.merge, History.overwrite, History.restore,
    History.optimize, History.vacuum, History.add_column, History.enable_feed, History.pass_retention,
    History.stop_early,
)  # fmt: skip


def replay(lake: Lake, seed: int, steps: int, *more: Callable[[History], None]) -> History:
    """A history with a run after every one or two changes, some of them of `more` kinds."""
    history = History(lake, seed)
    history.changes += more
    history.run()
    for _ in range(steps):
        for _ in range(history.rng.randint(1, 2)):
            history.step()
        history.run()
    history.compare_with_full_run()
    print(history.steps)
    return history


def test_labels_follow_a_source_that_changes_in_every_way(lake: Lake) -> None:
    replay(lake, SEED, 3)


@pytest.mark.parametrize("seed", range(10, 16))
def test_labels_follow_long_histories(lake: Lake, seed: int) -> None:
    replay(lake, seed, 12)


@pytest.mark.parametrize("seed", SEEDS_OF_KILLS)
def test_labels_follow_histories_in_which_runs_are_killed(lake: Lake, seed: int) -> None:
    replay(lake, seed, 5, *[History.kill_run] * 5)


def test_labels_follow_a_clustered_table_with_deletion_vectors_and_column_mapping(lake: Lake) -> None:
    properties = "'delta.enableDeletionVectors' = 'true', 'delta.columnMapping.mode' = 'name'"
    lake.spark.sql(
        f"CREATE TABLE delta.`{lake.posts}` (id STRING, body STRING) USING delta CLUSTER BY (id) "
        f"TBLPROPERTIES ({properties})"
    )
    history = History(lake, 5)
    history.run()
    for change in (
        History.update, History.delete, History.merge, History.optimize, History.append, History.enable_feed,
        History.delete, History.restore, History.merge,
    ):  # fmt: skip
        history.steps.append(change.__name__)
        change(history)
        history.run()
    history.compare_with_full_run()
