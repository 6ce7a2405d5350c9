"""Policy: a document at a version, read from `policies/<name>/<version>/policy.md` or any file of that form."""

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from safeguard_spark.errors import PolicyError
from safeguard_spark.keys import sha256
from safeguard_spark.policy.names import level
from safeguard_spark.policy.positions import InvalidYamlError, read_yaml
from safeguard_spark.policy.scalars import Share, Whole
from safeguard_spark.policy.yaml_problems import CONFLICT, RESOLVE
from safeguard_spark.value_problems import problem_words

NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"  # what MLflow's prompt registry accepts as a name
VERSION = r"^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)$"  # 1.0.0 has no other spelling, such as 01.0.0
LANGUAGE = r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$"  # BCP 47
ENCODING = "utf-8-sig"  # some editors write a byte order mark; it is not part of the text
NUL = "\0"  # in no text, and in every second byte of UTF-16
DASHES = re.compile(r"[-‐‑‒–—―−_*=]{1,}")  # what people and editors write for three hyphens
NONE = "none"  # the category the model gives when nothing is violated
REVIEW: Literal["review"] = "review"  # the category of a content that a person must decide


class Output(StrEnum):
    """The form of answer a policy requires; the three forms of the gpt-oss-safeguard guide."""

    binary = "binary"
    category = "category"
    full = "full"


class Severity(StrEnum):
    """How bad a violation of a rule is."""

    low = "low"
    medium = "medium"
    high = "high"
    critical = "critical"


class Effort(StrEnum):
    """Reasoning effort. `none` is for models without one: nothing is sent. The harmony dialect has the other three."""

    none = "none"
    low = "low"
    medium = "medium"
    high = "high"


class Frozen(BaseModel):
    """A frozen value without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Label = Annotated[str, StringConstraints(pattern=r"\S")]  # of content that violates no rule


class Rule(Frozen):
    """One rule: the id and category a verdict may name."""

    id: Annotated[str, StringConstraints(min_length=1, max_length=40, pattern=r"^\S+$")]
    category: Annotated[str, StringConstraints(min_length=1, max_length=80, pattern=r"^\S(.*\S)?$")]
    title: str = ""
    severity: Severity = Severity.medium


class Answers(Frozen):
    """The words that a policy's text asks for in place of 1 and 0; the first of each is what a schema requires."""

    violation: Annotated[tuple[str, ...], Field(min_length=1)]
    safe: Annotated[tuple[str, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _decide(self) -> Self:
        violation, safe = ({level(word) for word in words} for words in (self.violation, self.safe))
        if "" in violation | safe:
            raise ValueError("an answer is empty")
        if both := sorted((violation | {"1", "true"}) & (safe | {"0", "false"})):
            raise ValueError(f"`{both[0]}` would mean both a violation and safe")
        return self


class LabelerDefaults(Frozen):
    """Settings the author recommends; a job's configuration overrides them."""

    effort: Effort | None = None
    max_tokens: Annotated[Whole, Field(gt=0)] | None = None


ALL = "*"  # the slice of every content, and the policy of an exact match: no column's value and no policy's name


class SetGate(Frozen):
    """What the labels of a golden set must show. Null: not required.

    A floor is decided on the exact one-sided lower bound at 95 %, a ceiling on the upper bound: what too few contents
    cannot show is not met.
    """

    set: str
    """The golden set, as name or name@version"""
    policy: str | None = None
    """Name of the policy; null: every policy that is evaluated on the set"""
    slice: str = ALL
    """The part of the set, as `column=value`; `*`: all of it"""
    min_recall: Share | None = None
    """Of the violations, at least this share is flagged"""
    min_precision: Share | None = None
    """Of the flagged contents, at least this share are violations"""
    min_exact_match: Share | None = None
    """Of the contents, at least this share is right under every policy"""
    max_false_positive_rate: Share | None = None
    """Of the safe contents, at most this share is flagged"""
    max_unreadable_rate: Share | None = None
    """Of the answers, at most this share cannot be read, refusals included"""

    @model_validator(mode="after")
    def _requires_something(self) -> Self:
        if not self.requirements:
            raise ValueError("requires nothing: give min_recall, max_false_positive_rate or another bound")
        return self

    @property
    def requirements(self) -> dict[str, float]:
        """The bounds that are required, by key, such as `min_recall`."""
        return {key: value for key, value in self.model_dump(exclude_none=True).items() if key[:4] in ("min_", "max_")}


class Gate(Frozen):
    """What a version must reach before it may be promoted; None requires nothing. Shares from 0 to 1.

    The four shares are point values on the policy's cases. `sets` are decided on bounds.
    """

    min_precision: Share | None = None
    min_recall: Share | None = None
    max_false_positive_rate: Share | None = None
    max_unreadable_rate: Share | None = None  # answers that could not be read, refusals included
    min_rule_accuracy: Share | None = None  # violations that are called one of the right rule
    sets: tuple[SetGate, ...] = ()

    @property
    def of_cases(self) -> dict[str, float]:
        """The bounds on the policy's cases, by key."""
        return self.model_dump(exclude_none=True, exclude={"sets"})


class Policy(Frozen):
    """A policy document. One hash is over what can change a label, one over everything.

    `labeler` can change a label as well: not through the policy hash, but as part of the labeler that a job uses.

    The hashes are not cached: `model_copy` would copy the cached values.
    """

    name: Annotated[str, StringConstraints(pattern=NAME)]
    version: Annotated[str, StringConstraints(pattern=VERSION)]
    owner: str = ""
    description: str = ""
    output: Output = Output.full
    rules: tuple[Rule, ...] = ()
    labeler: LabelerDefaults = LabelerDefaults()
    gate: Gate = Gate()
    languages: tuple[Annotated[str, StringConstraints(pattern=LANGUAGE)], ...] = ()  # written and tested for these
    links: dict[str, str] = Field(default_factory=dict)  # title: address, for people
    allowed: tuple[Label, ...] = ()  # labels that the text gives to safe content; the answer is `none`
    answers: Answers | None = None  # if the text asks for words, such as Violating, in place of 1 and 0
    review: tuple[Label, ...] = ()  # labels and words that the text gives to content that a person must decide
    allow: tuple[str, ...] = ()  # warnings of `safeguard check` that the author accepts
    body: str

    @property
    def policy_hash(self) -> str:
        """SHA-256 over what can change a label: the text the model reads, and what decides how its answer is read."""
        rules = [[rule.id, rule.category] for rule in self.rules]
        optional = self.model_dump(mode="json", include={"allowed", "answers", "review"})
        named = {key: value for key, value in optional.items() if value}  # without them, the hash is as it always was
        return sha256({"body": self.body, "rules": rules, "output": self.output, **named})

    @property
    def document_hash(self) -> str:
        """SHA-256 over the whole document; over the keys that older releases did not have only if they are set."""
        document = self.model_dump(mode="json")
        if document["answers"] is None:
            del document["answers"]
        if not document["review"]:
            del document["review"]
        for key in ("min_rule_accuracy", "sets"):
            if not document["gate"][key] and document["gate"][key] != 0:
                del document["gate"][key]
        return sha256(document)

    @property
    def rule_ids(self) -> tuple[str, ...]:
        """Rule ids in the document's order."""
        return tuple(rule.id for rule in self.rules)

    @property
    def categories(self) -> tuple[str, ...]:
        """The rules' categories in the document's order, each once."""
        return tuple(dict.fromkeys(rule.category for rule in self.rules))

    @property
    def ref(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"


class DocumentParts(NamedTuple):
    """The parts of a policy file: the front matter's YAML, and the Markdown body exactly as the model reads it."""

    front_matter: str
    body: str
    body_line: int  # 1-based line of the body's first line in the file


class FrontMatterError(PolicyError):
    """A file without front matter between two lines of `---`. `line`: where one is missing; `hint`: what to type."""

    def __init__(self, message: str, line: int = 1, hint: str = "") -> None:
        super().__init__(message)
        self.line = line
        self.hint = hint


def split_document(text: str) -> DocumentParts:
    """Split a policy file. Raises FrontMatterError if it does not begin with front matter between `---` lines."""
    match = re.match(r"\A---[ \t]*\r?\n(.*?)^---[ \t]*\r?(?:\n|\Z)", text, re.DOTALL | re.MULTILINE)
    if match is None:
        raise _front_matter_error(text.split("\n"))
    return DocumentParts(match[1], text[match.end() :], text[: match.end()].count("\n") + 1)


def _front_matter_error(lines: list[str]) -> FrontMatterError:
    """Which of the two lines of `---` is missing, and where."""
    hint = "type three hyphens, `---`, on a line of their own"
    dashes = next((n for n, line in enumerate(lines, 1) if DASHES.fullmatch(line.strip())), 0)
    if lines[0].rstrip() != "---":
        if dashes and not any(line.strip() for line in lines[: dashes - 1]):
            what = "is not the first line" if lines[dashes - 1].rstrip() == "---" else "is not three hyphens"
            return FrontMatterError(f"the line that begins the front matter {what}", dashes, hint + ", in line 1")
        return FrontMatterError("the file does not begin with front matter", 1, hint + ", in line 1")
    ends = (n for n, line in enumerate(lines[1:], 2) if n > 2 and (not line.strip() or line.startswith("#")))
    dashes = next((n for n, line in enumerate(lines[1:], 2) if DASHES.fullmatch(line.strip())), 0)
    if dashes:
        return FrontMatterError("the line that ends the front matter is not three hyphens", dashes, hint)
    line = next(ends, len(lines))
    return FrontMatterError("the front matter has no end", line, f"{hint}, before the text that the model reads")


def parse_policy(text: str) -> Policy:
    """Parse a document's text. Raises PolicyError with one sentence for the first problem."""
    if conflict := CONFLICT.search(text):
        line = text.count("\n", 0, conflict.start()) + 1
        raise PolicyError(f"in line {line}, the marks of a merge conflict are still in the file ({RESOLVE})")
    try:
        parts = split_document(text)
        yaml = read_yaml(parts.front_matter, first_line=2)
    except InvalidYamlError as error:
        hint = f" ({error.hint})" if error.hint else ""
        raise PolicyError(f"in line {error.span.line}, column {error.span.column}, {error}{hint}") from error
    except FrontMatterError as error:
        raise PolicyError(f"in line {error.line}, {error} ({error.hint})") from error
    if yaml.duplicate_keys:
        duplicate = yaml.duplicate_keys[0]
        raise PolicyError(f"`{duplicate.key}` is given twice, again in line {duplicate.span.line}")
    front = yaml.value
    if not isinstance(front, dict):
        raise PolicyError("its front matter is not a list of `key: value` lines")
    return build_policy(front, parts.body)


def build_policy(front: dict[str, Any], body: str) -> Policy:
    """Build a policy from front matter values and a body. Raises PolicyError."""
    if "body" in front:
        raise PolicyError("`body` is not a front matter key: the text after the second --- is the body")
    try:
        policy = Policy.model_validate({**front, "body": body})
    except ValidationError as error:
        raise PolicyError(f"{problem_words(error.errors()[0])}; `safeguard check` shows where") from error
    if not body.strip():
        raise PolicyError("it has no text after the front matter for the model to read")
    duplicates = sorted({rule.id for rule in policy.rules if policy.rule_ids.count(rule.id) > 1})
    if duplicates:
        raise PolicyError(f"rule id {duplicates[0]} is defined more than once")
    if any(level(category) == NONE for category in policy.categories):
        raise PolicyError(f"a rule's category may not be `{NONE}`, which means that nothing is violated")
    if shared := ambiguous_review_words(policy):
        raise PolicyError(f"`{min(shared)}` would mean that a person must decide, and something else as well")
    return policy


def ambiguous_review_words(policy: Policy) -> set[str]:
    """The words for `review`, levelled, that mean something else as well."""
    if not policy.review:
        return set()
    answers = policy.answers or Answers(violation=("1",), safe=("0",))
    others = (*policy.rule_ids, *policy.categories, *policy.allowed, *answers.violation, *answers.safe, NONE, "safe")
    return {level(word) for word in (*policy.review, REVIEW)} & {level(word) for word in (*others, "true", "false", "")}


def read_text(path: Path) -> str:
    """Read a text file; line ends become \\n. Raises PolicyError naming the file."""
    try:
        text = path.read_text(encoding=ENCODING)
    except OSError as error:
        raise PolicyError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise PolicyError(f"{path} is not UTF-8 text (byte {error.start}): save it as UTF-8.") from error
    if NUL in text:
        raise PolicyError(f"{path} is not UTF-8 text (NUL character {text.index(NUL)}): save it as UTF-8.")
    return text


def load_policy(path: Path) -> Policy:
    """Read a policy file. Raises PolicyError naming the file."""
    text = read_text(path)
    try:
        return parse_policy(text)
    except PolicyError as error:
        raise PolicyError(f"Policy {path}: {error}.") from error


def ref_key(ref: str) -> tuple[str, tuple[int, ...]]:
    """Sort key of a `name@version`."""
    name, _, version = ref.partition("@")
    return name, version_key(version)


def version_key(version: str) -> tuple[int, ...]:
    """Sort key of a semantic version; anything else sorts first."""
    return tuple(int(p) for p in version.split(".")) if re.match(VERSION, version) else ()
