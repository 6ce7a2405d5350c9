"""A content table, label tables and a scripted engine that counts its calls."""

import contextlib
import json
import re
import shutil
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import yaml
from deltalake import DeltaTable
from pyspark.sql import DataFrame, Row, SparkSession

from safeguard_spark.config.load import build_config
from safeguard_spark.config.model import RunConfig
from safeguard_spark.policy.document import Policy
from safeguard_spark.result import RunResult
from safeguard_spark.spark.label.job import label_table
from safeguard_spark.spark.tables import Tables
from tests.build import SCRIPT, policy, policy_text

COPYING = threading.Lock()


class Lake:
    """The content table and the label tables of one test, in its folder."""

    def __init__(self, spark: SparkSession, folder: Path, empty: Path | None = None) -> None:
        self.spark, self.folder, self.empty = spark, folder, empty
        self.posts, self.tables = folder / "posts", folder / "tables"
        self._calls = folder / "calls"

    def write(
        self, rows: Sequence[tuple[Any, ...]], ddl: str = "id STRING, body STRING", *, mode: str = "append",
        format: str = "delta",
    ) -> None:  # fmt: skip
        """Write rows to the content table."""
        self.spark.createDataFrame(list(rows), ddl).coalesce(2).write.format(format).mode(mode).save(str(self.posts))

    def config(self, **sections: Any) -> RunConfig:
        """A configuration over this lake."""
        values: dict[str, Any] = {
            "source": {"location": str(self.posts), "text_column": "body"},
            "output": str(self.tables),
            "engine": {"kind": "scripted", "args": {**SCRIPT, "calls_file": str(self._calls)}},
            "tracking": {"enabled": False},
        }
        for name, value in sections.items():
            extends = isinstance(value, dict) and "kind" not in value  # a kind begins another engine
            values[name] = {**values.get(name, {}), **value} if extends else value
        return build_config(values)

    def label(self, *policies: Policy, show: bool = False, **sections: Any) -> RunResult:
        """Run the label job."""
        self.create()
        return label_table(self.spark, self.config(**sections), policies or (policy(),), show=show)

    def create(self) -> None:
        """Copy empty tables, because creating them takes seconds. The tests of the tables create them."""
        with COPYING:  # some tests run two jobs at once
            if self.empty is not None and not self.tables.exists():
                if not self.empty.exists():
                    Tables(self.spark, str(self.empty)).create()
                    for script in ("views.sql", "views_spark.sql"):
                        (self.empty / script).unlink()
                shutil.copytree(self.empty, self.tables)

    def golden_set(self, rows: Sequence[dict[str, Any]]) -> str:
        """A golden set of rows (body, answer, rule), and its policy in `policies`. Returns the manifest."""
        policy_file = self.folder / "policies" / "market" / "1.0.0" / "policy.md"
        policy_file.parent.mkdir(parents=True)
        policy_file.write_text(policy_text())
        folder = self.folder / "known"
        folder.mkdir()
        (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
        manifest = {
            "name": "known", "version": "1", "licence": "MIT", "may_redistribute": True, "location": "./rows.jsonl",
            "id_column": "_row", "text_column": "body", "mapping": {"market": "answer"}, "rules": {"market": "rule"},
        }  # fmt: skip
        (folder / "set.yaml").write_text(yaml.safe_dump(manifest))
        return str(folder / "set.yaml")

    def calls(self) -> int:
        """Model calls since the last call of this method, counted by the engine itself."""
        count = self._calls.stat().st_size if self._calls.exists() else 0
        self._calls.unlink(missing_ok=True)
        return count

    def read(self, table: str) -> DataFrame:
        """A label table."""
        return self.spark.read.format("delta").load(str(self.tables / table))

    def current(self) -> dict[str, Row]:
        """`labels_current` by content id."""
        rows = self.spark.sql("SELECT * FROM labels_current").collect()
        by_id = {row.content_id: row for row in rows}
        assert len(by_id) == len(rows)
        return by_id

    def duckdb(self) -> contextlib.AbstractContextManager[duckdb.DuckDBPyConnection]:
        """A connection with the views that `views.sql` defines."""
        return in_duckdb(self.tables)


@contextlib.contextmanager
def in_duckdb(tables: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A folder's `views.sql` as it is, but for DuckDB's extension for Delta, for which delta-rs reads the tables."""
    script = (tables / "views.sql").read_text()
    assert script.count("INSTALL delta;") == script.count("LOAD delta;") == 1
    script = script.replace("INSTALL delta;", "").replace("LOAD delta;", "")
    with duckdb.connect() as connection:
        for path in set(re.findall(r"delta_scan\('([^']*)'\)", script)):
            assert Path(path).parent == tables, path
            name = f"table_{Path(path).name}"
            connection.register(name, DeltaTable(path).to_pyarrow_dataset())
            script = script.replace(f"delta_scan('{path}')", name)
        connection.execute(script)
        yield connection
