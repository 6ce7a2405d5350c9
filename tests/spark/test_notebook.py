"""The analysts' notebook runs as committed, and the examples on the tables' reference page work."""

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.build import policy, posts
from tests.spark.lake import Lake

pytestmark = pytest.mark.spark

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "notebooks" / "labels_for_analysts.ipynb"
PAGE = (ROOT / "docs" / "queries.md").read_text(encoding="utf-8")


def notebook() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)


def output_of(cell: Any) -> str:
    """What a cell printed and returned, as text."""
    return "\n".join(out.get("text") or out.get("data", {}).get("text/plain", "") for out in cell.get("outputs", []))


def test_the_notebook_is_committed_without_outputs_and_without_local_paths() -> None:
    cells = [cell for cell in notebook().cells if cell.cell_type == "code"]
    assert len(cells) > 10
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)
    assert not re.search(r"/(home|Users|work|tmp)/", NOTEBOOK.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_the_notebook_creates_its_tables_and_queries_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LABEL_TABLES", "LABEL_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    start_folder = tmp_path / "start"
    start_folder.mkdir()
    executed = notebook()
    # The last cell itself asserts that DuckDB and Spark agree.
    NotebookClient(
        executed, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(start_folder)}}
    ).execute()
    outputs = {cell.source: output_of(cell) for cell in executed.cells if cell.cell_type == "code"}
    all_output = "\n".join(outputs.values())
    for word in ("marketplace", "spam", "counterfeit", "weapons", "phishing", "refused", "empty", "complete"):
        assert word in all_output, word
    small_table = next(text for source, text in outputs.items() if "few.select" in source)
    assert re.search(r"Hunting rifle, hardly used +labelled +True +weapons", small_table)
    assert re.search(r"A rocking chair +labelled +False", small_table)
    assert not list(start_folder.iterdir()), "the notebook left files in the folder it was started in"


@pytest.fixture
def labelled(lake: Lake) -> Lake:
    lake.write([*posts(12, "a table {n}", "a replica {n}", "a replica {n}"), ("r", "zzrefuse")])
    lake.label(policy(), policy("other"))
    return lake


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_the_pages_examples_run_in_spark_duckdb_and_polars(
    labelled: Lake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(labelled.folder)
    for block in blocks("python"):
        # The JVM keeps the folder it was started in, so Spark needs the absolute path.
        code = block.replace('"tables/', f'"{labelled.tables}/').replace('"./tables"', f'"{labelled.tables}"')
        exec(code, {"spark": labelled.spark})
        assert "labelled" in capsys.readouterr().out
    results = [labelled.spark.sql(query).collect() for query in blocks("sql")]
    assert len(results) >= 5 and all(results)
