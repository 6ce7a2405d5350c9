"""Scalars: numbers and truth values in files that people write, as the JSON schemas say.

`true` is no number, and a text in quotes is neither.
"""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

_EXPONENT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")


def _as_number(value: Any) -> Any:
    return float(value) if isinstance(value, str) and _EXPONENT.fullmatch(value) else value


Truth = Annotated[bool, Field(strict=True)]
Whole = Annotated[int, Field(strict=True)]
EXPONENTS = BeforeValidator(_as_number)  # a part of a number's type: PyYAML reads 1e-3 as a text, and editors do not
Share = Annotated[float, Field(strict=True, ge=0, le=1), EXPONENTS]
