"""`make demo-review` to its end: the label job with the demo's model, a console, a browser, and the corrected rate."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from safeguard_spark.demo.review import CHROMIUM
from tools.rooms import ROOT

pytestmark = [
    pytest.mark.engine,
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"{CHROMIUM} is missing: apt-get install chromium"),
]


def without_numbers(text: str) -> str:
    return re.sub(r"\d[\d,.]*", "N", text)


def test_it_prints_the_corrected_rate_next_to_the_true_one(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "safeguard_spark.demo.review"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=540)
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-2000:]
    start = ran.stdout.index("Share of posts")
    printed = ran.stdout[start : ran.stdout.index("\n\nDemo finished")]
    (documented,) = re.findall(r"^Share of posts.*?(?=\n```)", (ROOT / "docs/reviewing.md").read_text(), re.M | re.S)
    assert without_numbers(printed) == without_numbers(documented)
    shares = [float(text) / 100 for text in re.findall(r"([\d.]+)%", printed)]
    model, corrected, low, high, true = shares
    assert low <= corrected <= high and low - 0.01 <= true <= high + 0.01 and abs(model - true) < 0.05
    judged = int(re.findall(r"(\d+) items judged", ran.stdout)[0])
    assert judged > 150
    assert (tmp_path / ".demo/review.html").read_text().count("<svg") >= 2
