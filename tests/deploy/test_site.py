"""The documentation as a site: links lead somewhere, every page is in the navigation, and words are spelled right."""

from pathlib import Path

import pytest

from tests.deploy.environments import environment, run
from tools.rooms import ROOT

pytestmark = pytest.mark.deploy
GERMAN = "docs/eine-richtlinie-schreiben.md"
WORDS = "labelled,labelling,relabel,unparseable,sence"  # ours, and a name, which codespell would change


def test_the_site_is_built_without_a_warning(cache: Path, tmp_path: Path) -> None:
    tool = str(environment(cache, "mkdocs-material==9.8.1") / "mkdocs")
    run(tool, "build", "--strict", "--site-dir", str(tmp_path / "site"), folder=ROOT)
    pages = {page.stem for page in (ROOT / "docs").glob("*.md")} - {"index"}
    assert {page for page in pages if not (tmp_path / "site" / page / "index.html").is_file()} == set()
    broken = tmp_path / "docs"
    broken.mkdir()
    (broken / "index.md").write_text("[gone](nowhere.md)\n")
    (tmp_path / "mkdocs.yml").write_text("site_name: x\ntheme: {name: material}\nstrict: true\n")
    with pytest.raises(AssertionError, match=r"nowhere\.md"):
        run(tool, "build", folder=tmp_path)


def test_the_pages_are_spelled_as_codespell_knows_words(cache: Path) -> None:
    tool = str(environment(cache, "codespell==2.4.3") / "codespell")
    run(
        tool,
        "--skip",
        GERMAN,
        "--ignore-words-list",
        WORDS,
        "docs",
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        folder=ROOT,
    )
