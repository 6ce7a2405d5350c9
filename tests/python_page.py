"""docs/python.md, run: each Python block is executed, and what it prints is put below it."""

import contextlib
import io
import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[1] / "docs" / "python.md"
FIRST_ON_SPARK = "## Label a table\n"
BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```\n(?:\n```text\n.*?^```\n)?", re.MULTILINE | re.DOTALL)


def halves(page: str) -> tuple[str, str]:
    """The part of the page that runs without Spark, and the part that needs it."""
    before, heading, after = page.partition(FIRST_ON_SPARK)
    assert heading, f"docs/python.md has no heading {FIRST_ON_SPARK.strip()!r}"
    return before, heading + after


def with_outputs(part: str) -> str:
    """A part of the page as it should be: below each Python block, exactly what the block prints."""
    names: dict[str, Any] = {}

    def run(block: re.Match[str]) -> str:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(block["code"], PAGE.name, "exec"), names)
        text = printed.getvalue().rstrip("\n")
        return f"```python\n{block['code']}```\n" + (f"\n```text\n{text}\n```\n" if text else "")

    return BLOCK.sub(run, part)
