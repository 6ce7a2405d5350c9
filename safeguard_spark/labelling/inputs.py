"""Contents as Python programs hold them: a text, bytes, or a list of turns."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from safeguard_spark.labelling.content import Content, from_text, from_turns

Text: TypeAlias = str | bytes
# A pair, or a mapping with `role` and either `text` or `content`, as chat APIs write it.
TurnInput: TypeAlias = tuple[Text | None, Text | None] | Mapping[str, Any]
ContentInput: TypeAlias = Text | Sequence[TurnInput] | None

_Cells: TypeAlias = tuple[Text | None, Text | None]


def content_of(value: object) -> Content:
    """The content of a Python value. Never raises: what is neither a text nor a conversation gives `invalid`.

    None is null, and so is NaN, which pandas puts in its place. NumPy arrays count as lists.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return Content()
    if isinstance(value, str | bytes):
        return from_text(value)
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        value = value.tolist()
    if not isinstance(value, list | tuple):
        return Content(invalid=f"neither a text nor a list of turns: {type(value).__name__}")
    turns = []
    for number, turn in enumerate(value, 1):
        cells = _cells(turn)
        if cells is None:
            return Content(invalid=f"turn {number} is not a role and a text")
        turns.append(cells)
    return from_turns(turns)


def _cells(turn: object) -> _Cells | None:
    """Role and text of a turn; None if it has another form."""
    if isinstance(turn, Mapping):
        text_key = "text" if "text" in turn else "content"
        cells = [turn[key] for key in ("role", text_key) if key in turn]
    elif isinstance(turn, list | tuple):
        cells = list(turn)
    else:
        return None
    if len(cells) != 2 or not all(cell is None or isinstance(cell, str | bytes) for cell in cells):
        return None
    return cells[0], cells[1]
