"""Contents as Python programs hold them: a text, bytes, or a list of turns."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from safeguard_spark.labelling.content import Content, from_conversation, from_text
from safeguard_spark.labelling.conversation import Text

# A pair, or a mapping with `role` and `text` or `content`, as chat APIs write it.
TurnInput: TypeAlias = tuple[Text | None, Text | None] | Mapping[str, Any]
PANDAS_NULLS = ("NAType", "NaTType")
ContentInput: TypeAlias = Text | Sequence[TurnInput] | None


def content_of(value: object) -> Content:
    """The content of a Python value. Never raises: what is neither a text nor a conversation gives `invalid`.

    None is null, and so are NaN, NA and NaT, which pandas puts in its place. NumPy arrays count as lists.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)) or type(value).__name__ in PANDAS_NULLS:
        return Content()
    if isinstance(value, str | bytes):
        return from_text(value)
    value = _plain(value)
    if not isinstance(value, list | tuple):
        return Content(invalid=f"neither a text nor a list of turns: {type(value).__name__}")
    return from_conversation(value)


def _plain(value: Any) -> Any:
    """A value with lists in place of NumPy arrays, and mappings in place of Spark's rows, at any depth."""
    names = getattr(value, "__fields__", None)
    if isinstance(value, tuple) and names:
        value = dict(zip(names, value, strict=True))
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value
