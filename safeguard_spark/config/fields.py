"""Fields: the types of configuration values, and the base of every section."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from safeguard_spark.policy.scalars import EXPONENTS, Whole

Positive = Annotated[Whole, Field(gt=0)]
Seconds = Annotated[
    float, Field(strict=True, gt=0, allow_inf_nan=False, json_schema_extra={"format": "seconds"}), EXPONENTS
]
FilePath = Annotated[str, Field(json_schema_extra={"format": "path"})]


def _as_text(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else str(value) if isinstance(value, int | float) else value


Word = Annotated[str, BeforeValidator(_as_text)]  # YAML reads 4 and true as a number and a boolean


def _as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Refs = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]  # a single one needs no brackets


class Section(BaseModel):
    """A section of the configuration: frozen, without unknown keys; the docstring of a field is its documentation."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _empty(cls, values: Any) -> Any:
        return {} if values is None else values  # None: a YAML section whose keys are all commented out
