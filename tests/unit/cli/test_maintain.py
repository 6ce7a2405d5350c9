"""`maintain` refuses mistakes before it starts Spark."""

from pathlib import Path

import pytest

from safeguard_spark.cli.app import run_command
from safeguard_spark.cli.maintain import _read_ids

pytestmark = pytest.mark.unit


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    (tmp_path / "conf.yaml").write_text("engine: {kind: scripted}\n")
    return ["maintain", "erase", "--config", str(tmp_path / "conf.yaml"), "--output", str(tmp_path / "tables")]


@pytest.mark.parametrize("options", [[], ["--ids", ""], ["--ids", ",,"], ["--ids-file", "/nowhere/ids"]])
def test_an_erasure_without_ids_is_refused(
    command: list[str], options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command([*command, *options]) == 2
    message = capsys.readouterr().err
    assert ("No such file" in message) if options[:1] == ["--ids-file"] else ("--ids" in message)


def test_a_file_of_ids_that_is_not_text_is_refused(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ids").write_bytes(b"\xff\xfe")
    assert run_command([*command, "--ids-file", str(tmp_path / "ids")]) == 2
    assert "UTF-8" in capsys.readouterr().err


def test_each_line_of_the_file_is_an_id_unchanged(tmp_path: Path) -> None:
    (tmp_path / "ids").write_bytes("a\r\n\n b,c \n\u2028\nlast".encode())
    assert _read_ids(tmp_path / "ids") == ["a", " b,c ", "last"]
    assert _read_ids(None) == []
