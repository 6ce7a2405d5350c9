"""What is said before vLLM starts on a GPU machine that lacks something."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from safeguard_spark.engines.gpu_host import Gpu, gpus, missing_compiler, parse, unfit

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("line", "gpu"),
    [
        ("580.95.05, 9.0", Gpu(580, (9, 0))),
        ("470.1, 7.5\n", Gpu(470, (7, 5))),
        ("No devices were found", None),
        ("", None),
    ],
)
def test_a_line_of_nvidia_smi_is_read(line: str, gpu: Gpu | None) -> None:
    assert parse(line) == gpu


@pytest.mark.parametrize(
    ("gpu", "cuda", "words"),
    [
        (Gpu(580, (7, 5)), 13, "compute capability 7.5"),
        (Gpu(575, (9, 0)), 13, "driver is 575, and the installed PyTorch (CUDA 13) needs 580"),
        (Gpu(575, (9, 0)), 12, None),
        (Gpu(580, (8, 0)), 13, None),
        (Gpu(400, (8, 9)), None, None),
    ],
)
def test_an_old_card_and_an_old_driver_are_named(gpu: Gpu, cuda: int | None, words: str | None) -> None:
    sentence = unfit(gpu, cuda)
    assert sentence is None if words is None else words in str(sentence)


def test_a_missing_compiler_and_a_missing_header_are_named(tmp_path: Path) -> None:
    gcc, include = tmp_path / "gcc", tmp_path / "include"
    assert "C compiler" in str(missing_compiler(str(tmp_path), include))
    gcc.write_text("#!/bin/sh\n")
    gcc.chmod(0o755)
    assert f"Python.h on a GPU machine, and {include} lacks it" in str(missing_compiler(str(tmp_path), include))
    include.mkdir()
    (include / "Python.h").touch()
    assert missing_compiler(str(tmp_path), include) is None


@pytest.mark.parametrize("fails", [False, True])
def test_the_gpus_of_a_machine_are_those_that_nvidia_smi_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin")
    assert gpus(["GPU-a"]) == []
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f'#!/bin/sh\n[ "$3" = --id=GPU-a,GPU-b ] && echo "580.1, 9.0" && exit {int(fails)}\n')
    tool.chmod(0o755)
    assert gpus(["GPU-a", "GPU-b"]) == ([] if fails else [Gpu(580, (9, 0))])


def discovered(path: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "safeguard_spark.engines.gpu_addresses"]
    env = {"PATH": path, "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    return subprocess.run(command, capture_output=True, text=True, env=env, cwd=Path(__file__).parents[3], check=False)


def test_the_discovery_script_prints_uuids_or_one_sentence(tmp_path: Path) -> None:
    failed = discovered(str(tmp_path))
    assert failed.returncode == 1 and failed.stderr.startswith("The GPUs of this machine are not known: ")
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho GPU-1a2b\necho GPU-3c4d\n")
    tool.chmod(0o755)
    assert json.loads(discovered(f"{tmp_path}:/bin").stdout) == {"name": "gpu", "addresses": ["GPU-1a2b", "GPU-3c4d"]}
