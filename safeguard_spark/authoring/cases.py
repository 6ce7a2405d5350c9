"""Cases: contents with the verdict a policy's author expects, in `cases.yaml` next to `policy.md`.

cases:
  - id: replica-watch
    text: Replica watches, looks just like the original
    violation: true
    category: counterfeit        # optional: follows from the rules
    rules: [M1]
    why: M1 names replicas of brands.
  - id: advice-wanted
    conversation:
      - {role: user, text: How do I spot a fake?}
      - {role: assistant, text: Look at the stitching and ask for the receipt.}
    violation: false
    why: Advice on avoiding fakes offers none.
"""

from collections.abc import Iterable
from pathlib import Path
from textwrap import indent
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import Field, PlainValidator, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from safeguard_spark.authoring.diagnostics import nearest
from safeguard_spark.authoring.yaml_output import as_yaml
from safeguard_spark.errors import PolicyError
from safeguard_spark.labelling import content
from safeguard_spark.policy.document import NONE, REVIEW, Frozen, read_text
from safeguard_spark.policy.layout import CASES_FILE
from safeguard_spark.policy.positions import InvalidYamlError, read_yaml
from safeguard_spark.value_problems import problem_words


def _expected_violation(value: Any) -> bool | Literal["review"]:
    if isinstance(value, bool):
        return value
    if value == REVIEW:
        return REVIEW
    raise PydanticCustomError("violation", "must be true, false or review")


# Whether a content violates the policy, or a person must decide. `review` is true: it never passes for safe.
Violation: TypeAlias = Annotated[
    bool | Literal["review"], PlainValidator(_expected_violation, json_schema_input_type=bool | Literal["review"])
]


# For editors: which schema, next to the policies, a file follows.
SCHEMA_LINE = "# yaml-language-server: $schema=../../schemas/{}.schema.json\n"


class CaseTurn(Frozen):
    """One turn of a conversation."""

    role: str
    text: str


class Case(Frozen):
    """One content and its expected verdict. Of a conversation, the last turn is judged."""

    id: Annotated[str, Field(min_length=1, max_length=80)]
    text: str | None = None
    conversation: Annotated[tuple[CaseTurn, ...], Field(min_length=1)] | None = None
    violation: Violation
    category: str | None = None
    rules: tuple[str, ...] = ()
    why: str = ""

    @model_validator(mode="after")
    def _one_content(self) -> Self:
        if (self.text is None) == (self.conversation is None):
            raise ValueError("give either text or conversation")
        return self

    @property
    def content(self) -> content.Content:
        """The content to judge."""
        if self.conversation is None:
            return content.from_text(self.text)
        return content.from_turns([(turn.role, turn.text) for turn in self.conversation])

    @property
    def content_hash(self) -> str:
        """Equal for equal contents, whatever their expected verdicts."""
        if self.conversation is None:
            return content.text_hash(self.text)
        return content.turns_hash([(turn.role, turn.text) for turn in self.conversation])

    @property
    def expected_category(self) -> str | None:
        """The category; None if it is `none`."""
        return None if self.category == NONE else self.category

    @property
    def expected(self) -> str:
        """The expected verdict in words."""
        return verdict_words(self.violation, self.rules, self.expected_category)


class Cases(Frozen):
    """A cases document."""

    cases: tuple[Case, ...] = ()

    @field_validator("cases", mode="before")
    @classmethod
    def _none_is_empty(cls, value: Any) -> Any:
        return () if value is None else value


def verdict_words(violation: bool | Literal["review"], rules: Iterable[str], category: str | None) -> str:
    """A verdict in words."""
    if violation == REVIEW:
        return "review by a person"
    violated = ", ".join(rules) or category
    return "safe" if not violation else f"violation of {violated}" if violated else "violation"


def cases_path(policy_file: Path) -> Path:
    """The cases file of a policy file."""
    return policy_file.with_name(CASES_FILE)


def load_cases(path: Path) -> tuple[Case, ...]:
    """The cases in a file. Raises PolicyError for the first problem."""
    try:
        value = read_yaml(read_text(path)).value
    except InvalidYamlError as error:
        hint = f" ({error.hint})" if error.hint else ""
        raise PolicyError(f"Cases {path}: in line {error.span.line}, {error}{hint}.") from error
    try:
        return Cases.model_validate(value if value is not None else {}).cases
    except ValidationError as error:
        problem = problem_words(error.errors()[0]) or "the file is no list of cases"
        raise PolicyError(f"Cases {path}: {problem}; `safeguard check` shows where.") from error


def find_case(policy_file: Path, case_id: str) -> Case:
    """The case of a policy file with this id. Raises PolicyError that names the closest id."""
    path = cases_path(policy_file)
    cases = load_cases(path) if path.is_file() else ()
    case = next((case for case in cases if case.id == case_id), None)
    if case is None:
        raise PolicyError(f"{policy_file} has no case {case_id}; {nearest(case_id, (case.id for case in cases))}")
    return case


def dump_cases(cases: tuple[Case, ...]) -> str:
    """Cases as YAML: keys in reading order, a blank line between cases."""
    if not cases:
        return "cases: []\n"
    entries = [case.model_dump(mode="json", exclude_defaults=True) for case in cases]
    return f"{SCHEMA_LINE.format('cases')}cases:\n" + "\n".join(
        indent(as_yaml([entry]), "  ") + "\n" for entry in entries
    )
