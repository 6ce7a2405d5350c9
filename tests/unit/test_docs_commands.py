"""The pages' commands, files and links: those that need no tables are run; of the others, the options exist."""

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer

import safeguard_spark
from safeguard_spark.cli import app
from tests.pages import commands_of, output_of
from tests.unit.commands import Safeguard
from tools.commands import leaf_commands
from tools.rooms import ROOT

pytestmark = pytest.mark.unit

NOT_RUN = "<!-- not run by a test -->"
RUN_ELSEWHERE = {  # by which test
    "docs/writing-a-policy.md": "tests/unit/authoring/test_docs_writing_a_policy.py",
    "docs/eine-richtlinie-schreiben.md": "tests/unit/authoring/test_docs_writing_a_policy.py",
    "docs/changing-a-policy.md": "tests/unit/relabel/test_docs_changing_a_policy.py",
    "docs/first-table.md": "tests/spark/test_docs_first_table.py",
    "docs/index.md": "tests/deploy/test_start_page.py",
    "docs/evaluating.md": "tests/spark/evaluation/test_docs_evaluating.py",
    "docs/screening.md": "tests/spark/screen/test_docs_screening.py",
}
PAGES = sorted(str(file.relative_to(ROOT)) for file in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
BLOCK = re.compile(r"^(?P<before>[^\n]*)\n```(?P<kind>console|sh|bash)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
PLACEHOLDER = r"NAME|VERSION"
NOT_HERE = (
    *("pending/", "reused/"),  # in a run's staging
)
# A command of ours, with a prompt or a folder in front, up to a pipe.
COMMAND = re.compile(r"^(?:\$ )?(?:\S+/)?safeguard (.+?)(?: [|>] .*)?$", re.MULTILINE)


class Block(NamedTuple):
    """A block of commands: the line above it, and what is in it."""

    page: str
    before: str
    text: str


def blocks() -> Iterator[Block]:
    for page in PAGES:
        for found in BLOCK.finditer((ROOT / page).read_text(encoding="utf-8")):
            yield Block(page, found["before"], found["text"])


def commands() -> list[str]:
    """Every `safeguard` command in a block of a page, lines put together."""
    joined = [block.text.replace("\\\n", " ") for block in blocks()]
    return sorted({command for text in joined for command in COMMAND.findall(text) if "…" not in command})


def test_each_block_of_commands_is_run_by_a_test_or_says_that_it_is_not() -> None:
    assert all((ROOT / test).is_file() for test in RUN_ELSEWHERE.values())
    unknown = [b for b in blocks() if b.page not in RUN_ELSEWHERE and b.page != "README.md" and b.before != NOT_RUN]
    assert unknown == []


@pytest.mark.parametrize("name", ["README.md", "docs/first-table.md"])
def test_the_commands_without_tables_print_what_the_page_says(
    name: str, safeguard: Safeguard, tmp_path: Path, golden: Any
) -> None:
    for folder in ("conf", "policies"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    ran: list[str] = []

    def run(block: re.Match[str]) -> str:
        lines = commands_of(block["text"])
        if block["before"] == NOT_RUN or any(line.startswith("safeguard label") for line in lines):
            return block[0]
        ran.extend(lines)
        text = "".join(f"$ {line}\n{output_of(safeguard, line)}" for line in lines)
        return f"{block['before']}\n```{block['kind']}\n{text}```"

    golden(ROOT / name, BLOCK.sub(run, (ROOT / name).read_text(encoding="utf-8")))
    assert ran


@pytest.mark.parametrize("line", commands())
def test_each_option_of_a_command_exists(line: str) -> None:
    command: Any = typer.main.get_command(app.app)
    words = shlex.split(line)
    while words and hasattr(command, "commands"):
        command, words = command.commands[words[0]], words[1:]
    known = {name for parameter in command.params for name in parameter.opts} | {"--help", "--debug"}
    assert {word for word in words if word.startswith("--")} <= known


def test_each_command_has_one_section_in_the_reference_and_no_other_page_has_one() -> None:
    headings = [
        heading.removeprefix("safeguard ").strip("`")
        for page in PAGES
        for heading in re.findall(r"^#+ (.+)$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
    ]
    names = [" ".join(words) for words, _ in leaf_commands(typer.main.get_command(app.app))]
    assert len(names) > 25
    assert {name: headings.count(name) for name in names} == dict.fromkeys(names, 1)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_at_most_400_lines(page: str) -> None:
    assert len((ROOT / page).read_text(encoding="utf-8").splitlines()) <= 400


@pytest.mark.parametrize("page", PAGES)
def test_each_file_that_a_page_names_exists(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    folders = (ROOT, ROOT / "safeguard_spark", ROOT / "docs")
    named = re.findall(r"`([\w./-]+/[\w.-]*\.(?:py|md|yaml|ipynb)|(?:[a-z_]+/)+)`", text)
    missing = [name for name in named if not any((folder / name).exists() for folder in folders)]
    assert [name for name in missing if not re.search(PLACEHOLDER, name) and not name.startswith(NOT_HERE)] == []


@pytest.mark.parametrize("page", ["docs/architecture.md", "docs/glossary.md", "CONTRIBUTING.md"])
def test_each_name_of_the_code_that_a_page_uses_exists(page: str) -> None:
    quoted = re.findall(r"`(\w+)`", (ROOT / page).read_text(encoding="utf-8"))
    names = {name for name in quoted if re.search(r"[a-z]_[a-z]|^_|^[A-Z]{4}|[a-z][A-Z]", name)} - {"NAME", "VERSION"}
    folders = ("safeguard_spark", "jobs", "tests", "tools")
    files = [file for folder in folders for file in sorted((ROOT / folder).rglob("*.py"))]
    code = "".join(file.read_text(encoding="utf-8") for file in files)
    assert sorted(name for name in names if not re.search(rf"\b{name}\b", code)) == []


@pytest.mark.parametrize("page", PAGES)
def test_each_link_leads_to_a_file_and_a_heading(page: str) -> None:
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("http"):
            continue
        name, _, anchor = target.partition("#")
        file = (ROOT / page).parent / name if name else ROOT / page
        assert file.exists(), target
        headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE) if anchor else []
        slugs = {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
        assert not anchor or anchor in slugs, target


@pytest.mark.parametrize("page", PAGES)
def test_each_name_of_the_python_interface_exists(page: str) -> None:
    names = re.findall(r"\bsg\.(\w+)", (ROOT / page).read_text(encoding="utf-8"))
    assert set(names) <= set(safeguard_spark.__all__)


def quoted_messages() -> list[str]:
    """The parts of messages that "Troubleshooting" quotes in its first column; `…` stands for a value."""
    section = (ROOT / "docs/operations.md").read_text(encoding="utf-8").partition("## Troubleshooting")[2]
    cells = re.findall(r"^\| (.+?) \|", section.partition("\n## ")[0], re.MULTILINE)
    quoted = [text for cell in cells for text in re.findall(r"`([^`]+)`", cell) if " " in text]
    return [part.strip() for text in quoted for part in text.split("…") if len(part.strip()) > 6]


def test_each_message_that_troubleshooting_quotes_is_one_of_ours_or_of_the_systems() -> None:
    code = "".join(file.read_text(encoding="utf-8") for file in sorted((ROOT / "safeguard_spark").rglob("*.py")))
    code = re.sub(r'"\s*\n\s*f?"', "", code)  # a text over several lines
    systems = ("CUDA out of memory", "No space left on device", "File too large", "relabel promote")
    assert len(quoted_messages()) > 10
    assert [part for part in quoted_messages() if part not in systems and part not in code] == []
