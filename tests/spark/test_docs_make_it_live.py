"""The page "Writing a policy" with its section "Make it live": labels, and the promotion that readers see."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.pages import BLOCK, WRITING, without_times, writing_page
from tests.spark.lake import Lake
from tests.unit.commands import Safeguard

pytestmark = [pytest.mark.spark, pytest.mark.slow]
REVIEWS = [("r1", "I got a voucher for this review"), ("r2", "A refund, or you read about it"), ("r3", "Nice pool")]
SECTION = re.compile(r"(?<=\n## Make it live\n).*?(?=\n## )", re.DOTALL)


def test_a_version_that_is_labelled_and_promoted_is_what_readers_see(
    lake: Lake, safeguard: Safeguard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, golden: Any
) -> None:
    lake.write(REVIEWS)
    text = WRITING.read_text(encoding="utf-8")
    (config,) = (block["text"] for block in BLOCK.finditer(text) if block[0].startswith("```yaml\n"))
    # The tests' one JVM was started in another folder, so paths are absolute here.
    config = config.replace("./reviews", str(lake.posts)).replace("./tables", str(lake.tables))
    (tmp_path / "conf.yaml").write_text(f"{config}tracking: {{uri: 'sqlite:///{tmp_path}/mlflow.db'}}\n")

    (printed,) = SECTION.findall(writing_page(safeguard, tmp_path, monkeypatch.chdir, with_tables=True))
    assert {row.policy_version for row in lake.current().values()} == {"1.1.0"}
    assert [lake.current()[id].violation for id, _ in REVIEWS] == [True, True, False]
    golden(WRITING, SECTION.sub(lambda _: without_times(printed), text))
