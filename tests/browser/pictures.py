"""`python -m tests.browser.pictures FOLDER`: pictures of the console and of a report, for docs/ and to look at.

The console is a real one over a small table; the browser is Debian's chromium.
"""

import json
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml
from playwright.sync_api import sync_playwright

from safeguard_spark.report.page import report_page
from tests.reports import made_up_report
from tests.unit.review.browser import Process
from tests.unit.review.world import World
from tools.rooms import ROOT

CHROMIUM = "/usr/bin/chromium"
SIZES = {1280: 860, 390: 844}
SCHEMES = ("light", "dark")
POSTS = (
    ("Vintage camera, two lenses, collected in Leeds", None),
    ("Designer bags \u202eAAA quality\u202c, no box \u200b no papers, see https://example.org/bags", "CF"),
    ("Hunting rifle, hardly used, no questions", "WE"),
    ("Is the garden table still for sale?", None),
)
KEPT = {"queue-1280-light", "verdict-1280-light", "queue-390-dark", "report-1280-light"}


def make(folder: Path, only: set[str]) -> None:
    """Take the pictures; with `only` no others."""
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page_file = Path(scratch) / "report.html"
        page_file.write_text(report_page(made_up_report()), encoding="utf-8")
        for width, height in SIZES.items():
            for scheme in SCHEMES:
                process = Process(_config(Path(scratch) / f"{width}{scheme}"), append_every_s=60)
                page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)

                def take(name: str, page: Any = page, ending: str = f"{width}-{scheme}") -> None:
                    if not only or f"{name}-{ending}" in only:
                        page.screenshot(path=folder / f"{name}-{ending}.png", full_page=name in ("report", "policy"))

                page.goto(f"{process.url}queue/marketplace")
                take("queue")
                for key in ("s", "Enter"):
                    page.keyboard.press(key)
                page.wait_for_selector("text=The model's verdict")
                take("verdict")
                for screen in ("reviewers", "search", "try", "policies"):
                    page.goto(f"{process.url}{screen}")
                    take(screen)
                page.goto(f"{process.url}policies/marketplace/1.0.0")
                take("policy")
                page.goto(page_file.as_uri())
                take("report")
                page.close()
                process.end(signal.SIGTERM)
        browser.close()


def _config(folder: Path) -> Path:
    folder.mkdir()
    world = World(folder)
    shipped = (ROOT / "policies" / "marketplace" / "1.0.0" / "policy.md").read_text(encoding="utf-8")
    policy = world.add_policy(shipped)
    shared = {"policy": policy.name, "policy_version": policy.version, "policy_hash": policy.policy_hash}
    flagged = {"stratum": "flagged", "violation": True, "rationale": "It offers what the rule forbids."}
    world.draw_rows(
        {"content": json.dumps({"text": POSTS[n % 4][0]}), **shared}
        | ({**flagged, "rule_ids": [POSTS[n % 4][1]]} if POSTS[n % 4][1] else {})
        for n in range(1, 25)
    )
    file = folder / "run.yaml"
    file.write_text(yaml.safe_dump(world.config(port=0)))
    return file


def shrink(folder: Path) -> None:
    """Pictures of 64 colors, a third of the size and as readable."""
    from PIL import Image

    for file in folder.glob("*.png"):
        picture = Image.open(file).convert("RGB")
        picture.quantize(64, dither=Image.Dither.NONE).save(file, optimize=True)


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    make(target, KEPT if target.name == "pictures" else set())
    shrink(target)
