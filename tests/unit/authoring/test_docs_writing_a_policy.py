"""The page "Writing a policy" is executed: its commands print exactly the output below them."""

from pathlib import Path
from typing import Any

import pytest

from safeguard_spark.authoring.diagnostics import CHECKS
from safeguard_spark.policy.document import Gate, Policy
from tests.pages import DOCS, GERMAN, WRITING, writing_page
from tests.unit.commands import Safeguard

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("page", [WRITING, GERMAN], ids=lambda page: page.stem)
def test_every_command_on_the_page_prints_the_output_on_the_page(
    page: Path, safeguard: Safeguard, empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, golden: Any
) -> None:
    Path("mlflow.db").write_bytes(empty_store.read_bytes())
    golden(page, writing_page(safeguard, tmp_path, monkeypatch.chdir, with_tables=False, page=page))


def test_the_format_page_has_every_key_and_every_check() -> None:
    page = (DOCS / "policy-format.md").read_text(encoding="utf-8")
    keys = [key for key in (*Policy.model_fields, *Gate.model_fields) if key != "body"]
    assert [key for key in keys if f"`{key}`" not in page] == []
    rows = [f"| `{code}` | {check.level.value} | {check.summary}" for code, check in CHECKS.items()]
    assert [row for row in rows if row not in page.replace("\\|", "|")] == []
