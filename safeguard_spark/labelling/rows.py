"""Labelling: contents in, verdicts out. What the main path does with one policy, wherever it runs."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from safeguard_spark.config.model import Dialect, EngineKind, RunConfig
from safeguard_spark.errors import EngineError, PolicyError
from safeguard_spark.labelling import prompt, verdict
from safeguard_spark.labelling.content import Content
from safeguard_spark.labelling.contract import Contract
from safeguard_spark.labelling.engine import Answer, CallSpec, Engine, Request
from safeguard_spark.labelling.labeler import Labeler
from safeguard_spark.labelling.verdict import Completion, Outcome, Verdict
from safeguard_spark.policy.document import Policy

# A harmony token of real text is about 4 characters; a text of more than 16 per allowed token is too long without
# paying for the tokenizer, which on 5 MB takes seconds.
CHARACTERS_PER_TOKEN = 16

# Rows decided without the model wait for the next answer; of a table of empty rows no more than so many.
WAITING = 10_000


@dataclass(frozen=True)
class LabelSpec:
    """One policy as one labeler applies it."""

    policy: Policy
    labeler: Labeler

    @classmethod
    def of(cls, config: RunConfig, policy: Policy) -> "LabelSpec":
        """The job of a run. Raises PolicyError if the policy alone is too long: no row could be answered."""
        job = cls(policy, Labeler.of(config, policy))
        limits = {"labeler.max_prompt_tokens": job.labeler.max_prompt_tokens}
        if config.engine.kind is EngineKind.vllm and isinstance(length := config.engine.args.get("max_model_len"), int):
            limits["engine.args.max_model_len less labeler.max_tokens"] = length - job.labeler.max_tokens
        for name, most in limits.items():
            if said := job.too_long(name, most):
                raise PolicyError(f"{said} Shorten the policy, or set that higher.")
        return job

    def too_long(self, name: str, most: int) -> str | None:
        """What to say if the policy alone fills the `most` tokens that `name` leaves a prompt, else None."""
        if self.labeler.dialect is not Dialect.harmony:
            return None  # another model, another tokenizer
        alone = prompt.prefix_tokens(self.policy.body, self.labeler.effort)
        if alone < most:
            return None
        policy = f"Policy {self.policy.name}@{self.policy.version}"
        return f"{policy} alone takes {alone:,} tokens, and {name} leaves {most:,}: every row would be too long."

    @property
    def task(self) -> CallSpec:
        """What the engine must know."""
        return CallSpec(self.labeler, Contract.of(self.policy))


class Row(NamedTuple):
    """A content to label; `key` is the caller's own."""

    key: int
    content: Content


class Labelled(NamedTuple):
    """What became of a row. `completion` is None if the model was not asked or did not answer."""

    key: int
    verdict: Verdict
    completion: Completion | None = None
    asked: bool = False


def label_rows(job: LabelSpec, engine: Engine, rows: Iterable[Row]) -> Iterator[Labelled]:
    """Yield exactly one `Labelled` per row, in the order they are decided.

    Rows are pulled as the engine's window allows. Raises EngineError as `Engine.answers` does and if the policy alone
    is too long for the server, after the rows that were decided without the model.
    """
    task, source = job.task, iter(rows)
    decided: deque[Labelled] = deque()
    paused = True

    def requests() -> Iterator[Request]:
        nonlocal paused
        for row in source:
            ready = prepare(job, row.content)
            if not isinstance(ready, Verdict):
                yield Request(row.key, ready)
                continue
            decided.append(Labelled(row.key, ready))
            if len(decided) >= WAITING:
                paused = True
                return

    while paused:
        paused = False
        try:
            for answer in engine.answers(task, requests()):
                yield from _drain(decided)
                yield _labelled(answer, job, task.contract)
        except EngineError:
            yield from _drain(decided)
            raise
        yield from _drain(decided)


def prepare(job: LabelSpec, content: Content) -> prompt.Prompt | Verdict:
    """The prompt for a content, or the verdict of one that needs no model."""
    if content.invalid:
        return Verdict(Outcome.invalid_content, error=content.invalid)
    if content.is_empty:
        return Verdict(Outcome.empty)
    limit = job.labeler.max_prompt_tokens
    if content.size > limit * CHARACTERS_PER_TOKEN:
        return Verdict(Outcome.too_long, error=f"over {limit * CHARACTERS_PER_TOKEN} characters")
    if job.labeler.dialect is Dialect.chat:
        return prompt.chat(job.policy.body, content)
    try:
        return prompt.harmony(job.policy.body, job.labeler.effort, content, limit)
    except prompt.TooLongError as problem:
        return Verdict(Outcome.too_long, error=str(problem))
    except prompt.InjectionError as problem:
        return Verdict(Outcome.invalid_content, error=str(problem))


def _labelled(answer: Answer, job: LabelSpec, contract: Contract) -> Labelled:
    if answer.completion is None:
        if answer.prompt_limit is not None and (said := job.too_long("the server's context", answer.prompt_limit)):
            raise EngineError(f"{said} Shorten the policy, or serve the model with a longer context.")
        outcome = Outcome.too_long if answer.too_long else Outcome.engine_failed
        return Labelled(answer.key, Verdict(outcome, error=answer.failure), asked=True)
    return Labelled(answer.key, verdict.read(answer.completion, contract), answer.completion, asked=True)


def _drain(decided: deque[Labelled]) -> Iterator[Labelled]:
    while decided:
        yield decided.popleft()
