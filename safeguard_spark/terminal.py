"""Terminal: lines that show what a model or a content says, and do nothing else to the terminal that shows them."""

from collections.abc import Container, Iterable, Sequence


def one_line(text: str) -> str:
    r"""A text with its line breaks, control characters and invisible characters as escapes: `\n`, `\x1b`, `\u202e`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def as_lines(lines: Iterable[str]) -> str:
    """Lines as one text. A line stays one line, whatever it quotes."""
    return "\n".join(map(one_line, lines))


def in_own_lines(text: str) -> str:
    """A text of several lines that keeps its line feeds; everything else is as in `one_line`."""
    return as_lines(text.split("\n"))


def counted(count: int, one: str, several: str) -> str:
    """A count with what it counts: `1 row is`, `0 rows are`, `1,200 rows are`."""
    return f"{count:,} {one if count == 1 else several}"


def aligned(rows: Sequence[Sequence[str]], left: Container[int] = (0,)) -> list[str]:
    """The rows of a table as lines: the columns with a number in `left` are flush left, the others flush right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sides = [str.ljust if column in left else str.rjust for column in range(len(widths))]
    return [
        "  ".join(side(cell, width) for side, cell, width in zip(sides, row, widths, strict=True)).rstrip()
        for row in rows
    ]
