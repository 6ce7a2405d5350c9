"""The page "Writing a policy" with its section "Make it live": labels, and the promotion that readers see."""

import re
from pathlib import Path

import pytest

from safeguard_spark.cli.app import run_command
from tests.spark.lake import Lake
from tests.unit.commands import CommandResult
from tests.writing_page import BLOCK, PAGE, executed

pytestmark = pytest.mark.spark
REVIEWS = [("r1", "I got a voucher for this review"), ("r2", "A refund, or you read about it"), ("r3", "Nice pool")]


def without_times(text: str) -> str:
    """Without the lines of progress, and with 12 s for every duration."""
    lines = [line for line in text.splitlines(keepends=True) if not re.search(r"rows/s|waiting for|MLflow at", line)]
    return re.sub(r"\b\d+ s\b", "12 s", "".join(lines))


def test_a_version_that_is_labelled_and_promoted_is_what_readers_see(
    lake: Lake,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    lake.write(REVIEWS)
    blocks = BLOCK.finditer(PAGE.read_text(encoding="utf-8"))
    (config,) = (block["text"] for block in blocks if block[0].startswith("```yaml\n"))
    # The tests' one JVM was started in another folder, so paths are absolute here.
    config = config.replace("./reviews", str(lake.posts)).replace("./tables", str(lake.tables))
    (tmp_path / "conf.yaml").write_text(f"{config}tracking: {{uri: 'sqlite:///{tmp_path}/mlflow.db'}}\n")

    def safeguard(*argv: str) -> CommandResult:
        capsys.readouterr()
        code = run_command(argv)
        out, err = capsys.readouterr()
        return CommandResult(code, out, err)

    page = executed(safeguard, tmp_path, monkeypatch.chdir, with_tables=True)
    assert {row.policy_version for row in lake.current().values()} == {"1.1.0"}
    assert [lake.current()[id].violation for id, _ in REVIEWS] == [True, True, False]
    section = re.compile(r"(?<=\n## Make it live\n).*?(?=\n## )", re.DOTALL)
    (printed,), text = section.findall(page), PAGE.read_text(encoding="utf-8")
    if request.config.getoption("--rewrite-golden"):
        PAGE.write_text(section.sub(lambda _: without_times(printed), text), encoding="utf-8")
    else:
        assert without_times(printed) == section.findall(text)[0]
