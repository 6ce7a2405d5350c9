"""The page on Python says what really happens without Spark; tests/spark/test_docs_python.py has the rest."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

import safeguard_spark as sg
from tests.pages import DOCS, PYTHON, python_page

pytestmark = pytest.mark.unit
ROOT = DOCS.parent


def test_what_runs_without_spark_prints_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, golden: Any
) -> None:
    shutil.copytree(ROOT / "policies", tmp_path / "policies")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    golden(PYTHON, python_page(on_spark=False))


def test_the_page_names_everything_there_is_and_nothing_else() -> None:
    page = PYTHON.read_text(encoding="utf-8")
    assert [name for name in sg.__all__ if not re.search(rf"`{name}\b", page)] == []
    assert {*re.findall(r"^\| `(\w+)\(", page, re.MULTILINE)} <= set(sg.__all__)


@pytest.mark.parametrize(
    "file", ["README.md", "docs/python.md", "docs/queries.md", "notebooks/labels_for_analysts.ipynb"]
)
def test_every_name_that_a_page_uses_is_there(file: str) -> None:
    text = (ROOT / file).read_text(encoding="utf-8")
    used = {*re.findall(r"\bsg\.(\w+)", text)} - {"__file__"}
    assert used and used <= set(sg.__all__)
    assert not re.search(r"(from|import) safeguard_spark\.", text), "a page for users imports an internal module"
