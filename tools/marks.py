"""Tables that a tool writes into a page, between marks: `<!-- NAME -->` and `<!-- /NAME -->`, each on its own line."""

from collections.abc import Mapping, Sequence


def replace_blocks(page: str, blocks: Mapping[str, str]) -> str:
    """The page with each block's text between the marks of its name. Raises ValueError if marks are missing."""
    for name, text in blocks.items():
        start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->\n"
        if page.count(start) != 1 or page.count(end) != 1:
            raise ValueError(f"the page needs the lines {start.strip()} and {end.strip()}, each once")
        before, _, rest = page.partition(start)
        after = rest.partition(end)[2]
        page = f"{before}{start}{text}\n{end}{after}"
    return page


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; pipes in a cell are escaped."""
    escaped = [[cell.replace("|", r"\|") for cell in row] for row in rows]
    lines = [head, ["---"] * len(head), *escaped]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
