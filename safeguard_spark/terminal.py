"""Terminal: lines that show what a model or a content says, and do nothing else to the terminal that shows them."""

from collections.abc import Iterable


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
