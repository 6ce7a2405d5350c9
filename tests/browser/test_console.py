"""The console in a real browser: fifty items by keyboard, nothing from elsewhere, accessible at two widths."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from safeguard_spark.demo.review import review_by_keyboard
from safeguard_spark.evaluation.comparison.html import comparison_page
from safeguard_spark.evaluation.page import evaluation_page
from safeguard_spark.report.page import report_page
from tests.evaluations import two_sides
from tests.reports import made_up_report
from tests.unit.evaluation.test_compare_output import example_report
from tests.unit.review.browser import Process
from tests.unit.review.world import FLAGGED, World

CHROMIUM = Path("/usr/bin/chromium")
try:
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import sync_playwright
except ModuleNotFoundError:
    MISSING = "playwright is not installed: make setup"
else:
    MISSING = "" if CHROMIUM.exists() else f"{CHROMIUM} is missing: apt-get install chromium"

pytestmark = [pytest.mark.browser, pytest.mark.skipif(bool(MISSING), reason=MISSING or "-")]

HOSTILE = "See https://example.org/x \u202egpj.exe\u202c\u200b <script>document.title='run'</script> <img src=https://example.org/y>"
WIDTHS, SCHEMES = (1280, 390), ("light", "dark")


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.draw(*(f"a replica {number}" for number in range(25)), **FLAGGED)
    world.draw_rows(
        {"content": json.dumps({"turns": [["user", f"Is this safe? {number}"], ["assistant", HOSTILE]]})}
        for number in range(35)
    )
    return world


@pytest.fixture
def url(world: World) -> Iterator[str]:
    config = world.folder / "run.yaml"
    config.write_text(yaml.safe_dump(world.config(port=0, second_share=1.0)))
    console = Process(config, append_every_s=1)
    yield console.url
    console.end(signal.SIGTERM)


@pytest.fixture
def browser() -> Iterator[Any]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        browser.close()


def test_fifty_items_by_keyboard_alone_without_a_request_elsewhere(browser: Any, url: str, world: World) -> None:
    page = browser.new_page()
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(url)

    def press(key: str) -> None:
        with page.expect_navigation():
            page.keyboard.press(key)

    for number in range(50):
        differs = number % 5 == 0
        is_flagged = "a replica" in page.inner_text("#content-text")
        page.keyboard.press("s" if is_flagged == differs else "1")
        press("Enter")
        if differs:
            page.keyboard.type("it is not what it seems")  # the reason has the focus
            press("Control+Enter")
        else:
            press("Enter")
        if number == 10:
            press("z")  # the reason is taken back, and asked for again
            page.keyboard.type("a better reason")
            press("Control+Enter")
    assert page.title().startswith("market")
    assert requests and all(address.startswith(url) for address in requests)
    assert problems == []
    page.keyboard.press("?")
    assert page.is_visible("#keys dl")
    page.wait_for_timeout(1_500)
    assert len({row["item_id"] for row in world.decisions}) == 50


def test_the_demos_reviewer_answers_every_item_as_it_knows(tmp_path: Path) -> None:
    world = World(tmp_path)
    flagged = world.draw(*(f"a replica {number}" for number in range(8)), **FLAGGED)
    others = world.draw(*(f"a chair {number}" for number in range(8)))
    answers = {item: number % 3 > 0 for number, item in enumerate([*flagged, *others])}
    config = world.folder / "run.yaml"
    config.write_text(yaml.safe_dump(world.config(port=0)))
    console = Process(config, append_every_s=1)
    judged, _ = review_by_keyboard(console.url, "market", answers)
    console.end(signal.SIGTERM)
    assert judged == 16
    assert {row["item_id"]: row["violation"] for row in world.decisions} == answers


def test_every_screen_is_accessible_and_fits(browser: Any, url: str, tmp_path: Path) -> None:
    for width in WIDTHS:
        for scheme in SCHEMES:
            page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
            for name in ("queue/market", "reviewers", "search", "try", "policies", "policies/market/1.0.0"):
                page.goto(url + name)
                _check(page, tmp_path / f"{name.replace('/', '-')}-{width}-{scheme}.png")
            page.goto(url + "queue/market")
            page.keyboard.press("u")
            with page.expect_navigation():
                page.keyboard.press("Enter")
            _check(page, tmp_path / f"verdict-{width}-{scheme}.png")
            page.goto(url + "try")
            page.fill("#pasted", "a replica")
            page.select_option("#one", "market@1.0.0")
            with page.expect_navigation():
                page.click("text=Ask the model")
            _check(page, tmp_path / f"tried-{width}-{scheme}.png")


REPORTS = {
    "report": lambda: report_page(made_up_report()),
    "evaluation": lambda: evaluation_page(two_sides()),
    "comparison": lambda: comparison_page(example_report("all")),
}


@pytest.mark.parametrize("name", REPORTS)
def test_every_report_page_is_accessible_and_fits_in_light_and_dark(browser: Any, tmp_path: Path, name: str) -> None:
    file = tmp_path / f"{name}.html"
    file.write_text(REPORTS[name](), encoding="utf-8")
    backgrounds = set()
    for width in WIDTHS:
        for scheme in SCHEMES:
            page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
            page.goto(file.as_uri())
            _check(page, tmp_path / f"{name}-{width}-{scheme}.png")
            backgrounds.add((scheme, page.evaluate("getComputedStyle(document.body).backgroundColor")))
    assert len(backgrounds) == len(SCHEMES)


def _check(page: Any, picture: Path) -> None:
    page.screenshot(path=picture, full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), picture.name
    violations = Axe().run(page).response["violations"]
    found = [(rule["id"], node["html"][:200]) for rule in violations for node in rule["nodes"]]
    assert found == [], picture.name
