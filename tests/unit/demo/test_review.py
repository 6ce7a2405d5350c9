"""What `make demo-review` says at its end is what the page on reviewing shows."""

import re
from pathlib import Path

import pytest

from safeguard_spark.demo.review import comparison
from safeguard_spark.report.indicators import Indicator, Report
from safeguard_spark.report.text import report_csv
from tools.rooms import ROOT

pytestmark = pytest.mark.unit


def test_the_page_shows_what_the_demo_prints(tmp_path: Path) -> None:
    (documented,) = re.findall(r"^Share of posts.*?(?=\n```)", (ROOT / "docs/reviewing.md").read_text(), re.M | re.S)
    key = ("marketplace", "1.0.0", "safeguard-demo/low", "posts")
    indicators = (
        Indicator("violation_rate_model", 0.2355, *key, "s1", n=2_994),
        Indicator("violation_rate", 0.2350, *key, "s1", low=0.2180, high=0.2515, n=218),
        Indicator("violation_rate", 0.5, *key, "s0", low=0.4, high=0.6, n=9),  # an older sample
        Indicator("violation_rate", None, *key[:2]),
    )
    figures = tmp_path / "figures.csv"
    figures.write_text(report_csv(Report(None, indicators)), encoding="utf-8")
    known = {"rate": 0.2353, "posts": 3_000, "unread": 6, "wrong": 21}
    assert comparison(figures, known) == documented
