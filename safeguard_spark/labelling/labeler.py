"""Labeler: everything besides policy and content that can change a label."""

from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from safeguard_spark.config.engine import Dialect
from safeguard_spark.config.model import RunConfig, SecondLook
from safeguard_spark.errors import ConfigError
from safeguard_spark.keys import sha256
from safeguard_spark.labelling.contract import CONTRACT_VERSION
from safeguard_spark.labelling.prompt import PROMPT_VERSION
from safeguard_spark.labelling.verdict import Outcome
from safeguard_spark.policy.document import Effort, Policy

DEFAULT_EFFORT = Effort.medium  # gpt-oss's own default
EFFORTS = (Effort.low, Effort.medium, Effort.high)
DEFAULT_MAX_TOKENS = 4096  # recorded 20b completions: p95 1.1k, longest 3.2k tokens


class LabelerRef(NamedTuple):
    """A labeler as labels and activations name it: its name, for people, and its hash."""

    name: str
    hash: str

    def __str__(self) -> str:
        return f"{self.name} ({self.hash[:8]})"


def salted_hash(labeler_hash: str, salt: str) -> str:
    """The hash of a labeler whose labels have a salt."""
    return sha256({"labeler": labeler_hash, "salt": salt})


class Labeler(BaseModel):
    """One labeler. Its hash is part of every work key, and not cached: `model_copy` would copy the cached value."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    revision: str | None
    dialect: Dialect
    engine_class: str
    effort: Effort
    temperature: float
    top_p: float
    max_tokens: int
    max_prompt_tokens: int
    structured: bool
    second_look: SecondLook = SecondLook.none
    escalate: float | None = None
    prompt_version: int = PROMPT_VERSION
    contract_version: int = CONTRACT_VERSION
    salt: str | None = None  # separates a second labelling, made to measure noise, from the one that counts

    @classmethod
    def of(cls, config: RunConfig, policy: Policy) -> "Labeler":
        """The labeler a run uses for a policy: the job's configuration overrides the policy's defaults.

        Raises ConfigError for an effort that the dialect does not have, for a second look that would be the first, and
        for an escalation from the highest effort.
        """
        settings, engine = config.labeler, config.engine
        effort = settings.effort or policy.labeler.effort or DEFAULT_EFFORT
        if effort is Effort.none and engine.dialect is Dialect.harmony:
            raise ConfigError("labeler.effort=none is for engine.dialect=chat; set it to low, medium or high.")
        if settings.second_look is SecondLook.structured and settings.structured:
            raise ConfigError(
                "labeler.second_look=structured is for labeler.structured=false; set labeler.second_look to effort or "
                "none."
            )
        if settings.escalate is not None and effort not in EFFORTS[:-1]:
            raise ConfigError(
                f"labeler.escalate asks with more effort, and the effort is {effort.value}. Set labeler.effort to low "
                "or medium, or labeler.escalate to null."
            )
        return cls(
            model=engine.name,
            revision=engine.revision,
            dialect=engine.dialect,
            engine_class=engine.version_class,
            effort=effort,
            temperature=settings.temperature,
            top_p=settings.top_p,
            max_tokens=settings.max_tokens or policy.labeler.max_tokens or DEFAULT_MAX_TOKENS,
            max_prompt_tokens=settings.max_prompt_tokens,
            structured=settings.structured,
            second_look=settings.second_look,
            escalate=settings.escalate,
        )

    @property
    def labeler_hash(self) -> str:
        """Lower-case hex SHA-256 over every field, `second_look` and `escalate` only if set; salted with `salt`."""
        absent = {"salt"}
        if self.second_look is SecondLook.none:
            absent.add("second_look")
        if self.escalate is None:
            absent.add("escalate")
        hash = sha256(self.model_dump(mode="json", exclude=absent))
        return salted_hash(hash, self.salt) if self.salt else hash

    def second_look_at(self, outcome: Outcome) -> "Labeler | None":
        """The labeler that looks once more at a content with this outcome; None if there is no second look."""
        if not outcome.is_unreadable or outcome.may_change(self.temperature):
            return None  # read, or tried again anyway
        if self.second_look is SecondLook.structured:
            return self.model_copy(update={"structured": True})
        if self.second_look is SecondLook.none or self.effort not in EFFORTS:
            return None
        # More reasoning would be cut short again.
        return self._stepped(-1 if outcome is Outcome.truncated else 1)

    @property
    def escalated(self) -> "Labeler | None":
        """The labeler that judges again what names a critical rule; None if none does."""
        return None if self.escalate is None else self._stepped(1)

    def _stepped(self, steps: int) -> "Labeler | None":
        """The labeler with another effort; None if there is none."""
        step = EFFORTS.index(self.effort) + steps if self.effort in EFFORTS else -1
        return self.model_copy(update={"effort": EFFORTS[step]}) if step in range(len(EFFORTS)) else None

    @property
    def name(self) -> str:
        """For people: the model and its effort."""
        return f"{self.model}/{self.effort.value}"

    @property
    def ref(self) -> LabelerRef:
        """Its name and hash."""
        return LabelerRef(self.name, self.labeler_hash)
