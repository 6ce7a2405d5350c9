"""Labelling rows: contents in, verdicts out, under one policy. The same in the label job, the UDF and `verify`."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from safeguard_spark.config.engine import Dialect, VllmConfig
from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import ConfigError, PolicyError, SafeguardError
from safeguard_spark.labelling import prompt, verdict
from safeguard_spark.labelling.content import Content
from safeguard_spark.labelling.contract import Contract
from safeguard_spark.labelling.engine import Answer, CallSpec, Decided, Engine, Request
from safeguard_spark.labelling.labeler import Labeler
from safeguard_spark.labelling.verdict import Completion, Outcome, Verdict
from safeguard_spark.policy.document import Effort, Policy, Severity

# A harmony token of real text is about 4 characters. A text of more than 16 per allowed token is too long, and finding
# that out must not cost a tokenizer run, which takes seconds on 5 MB.
CHARACTERS_PER_TOKEN = 16

# Bounds what a model without one readable answer costs, and the memory for contents that wait for their second look.
# The share of few calls would be none.
SECOND_LOOK_SHARE, MIN_SECOND_LOOKS = 0.05, 8


@dataclass(frozen=True)
class LabelSpec:
    """One policy as one labeler applies it."""

    policy: Policy
    labeler: Labeler

    @classmethod
    def of(cls, config: RunConfig, policy: Policy, salt: str | None = None) -> "LabelSpec":
        """The spec of a run. Raises PolicyError if the policy alone is too long: no row could be answered."""
        spec = cls(policy, Labeler.of(config, policy).model_copy(update={"salt": salt}))
        limits = {"labeler.max_prompt_tokens": spec.labeler.max_prompt_tokens}
        if isinstance(engine := config.engine, VllmConfig) and isinstance(
            length := engine.args.get("max_model_len"), int
        ):
            limits["engine.args.max_model_len less labeler.max_tokens"] = length - spec.labeler.max_tokens
        for setting, limit in limits.items():
            if message := spec.policy_too_long_message(setting, limit):
                raise PolicyError(f"{message} Shorten the policy, or raise that setting.")
        return spec

    def policy_too_long_message(self, setting: str, limit: int) -> str | None:
        """A sentence if the policy alone fills the `limit` tokens that `setting` allows a prompt, else None."""
        if self.labeler.dialect is not Dialect.harmony:
            return None  # another model, another tokenizer
        tokens = prompt.count_tokens(self.policy.body)
        if tokens < limit:  # else it may be too long to be rendered at all
            tokens = prompt.prefix_tokens(self.policy.body, self.labeler.effort)
        if tokens < limit:
            return None
        policy = f"Policy {self.policy.ref}"
        return f"{policy} alone takes {tokens:,} tokens, and {setting} leaves {limit:,}: every row would be too long."

    @property
    def critical_rules(self) -> frozenset[str]:
        """Ids of the policy's critical rules."""
        return frozenset(rule.id for rule in self.policy.rules if rule.severity is Severity.critical)

    @property
    def call_spec(self) -> CallSpec:
        """What the engine needs to know."""
        return CallSpec(self.labeler, Contract.of(self.policy))


class Row(NamedTuple):
    """A content to label. `key` is the caller's and comes back with the verdict.

    `is_close`: a screen nearly cleared it, so that it is judged again with more effort, if the labeler escalates.
    """

    key: int
    content: Content
    is_close: bool = False


class Labelled(NamedTuple):
    """The result of a row. `called`: whether the model was called for it. `completion`: None without an answer.

    `unavailable`: the engine was, so the row was not called, and the label job leaves it pending.
    `effort`: that of the call. `other`: the other of two calls, whose answer does not count.
    `over_share`: the answer could not be read, and enough others had a second look. `retries`: of this call's request.
    """

    key: int
    verdict: Verdict
    completion: Completion | None = None
    called: bool = False
    unavailable: bool = False
    effort: Effort | None = None
    other: "Labelled | None" = None
    over_share: bool = False
    retries: int = 0

    @property
    def calls(self) -> "tuple[Labelled, ...]":
        """The calls that were made for the row, the one that counts first."""
        return tuple(call for call in (self, self.other) if call and call.called)


# If none of so many is in gpt-oss's format, no later one will be. Some of gpt-oss's own answers are not.
FIRST_ANSWERS = 20


class _Unread(NamedTuple):
    """A content whose answer could not be read, or that is judged again with more effort."""

    content: Content
    first: Labelled


def label_rows(
    spec: LabelSpec, engine: Engine, rows: Iterable[Row], first_answers: int = FIRST_ANSWERS
) -> Iterator[Labelled]:
    """Yield exactly one `Labelled` per row, in the order they are decided.

    Rows are pulled as the engine's window allows. Answers that are asked for again come last. Raises EngineError as
    `Engine.answers` does, PolicyError if the policy alone is too long for the server, and ConfigError if none of the
    first answers has gpt-oss's format though the dialect says so; the rows that were decided without the model are
    yielded before that.
    """
    in_flight: dict[int, Row] = {}
    unread: dict[Labeler, list[_Unread]] = {}  # by the labeler of their second look
    num_calls = num_unread = num_escalated = num_other_format = 0
    critical, escalated, share = spec.critical_rules, spec.labeler.escalated, spec.labeler.escalate or 0
    close: list[_Unread] = []

    def requests() -> Iterator[Request | Decided]:
        for row in rows:
            in_flight[row.key] = row
            yield _request(spec, row)

    for result in _answered(spec, spec.call_spec, engine, requests()):
        _, content, is_close = in_flight.pop(result.key)
        num_calls += result.called
        num_other_format += result.verdict.error == verdict.NO_FINAL_MESSAGE
        if spec.labeler.dialect is Dialect.harmony and num_other_format == num_calls == first_answers:
            raise ConfigError(
                f"None of the first {num_calls} answers is in gpt-oss's format (harmony). For another model set "
                "engine.dialect=chat."
            )
        labeler = spec.labeler.second_look_at(result.verdict.outcome)
        if labeler is None and escalated is not None and not critical.isdisjoint(result.verdict.rule_ids):
            if num_escalated < max(MIN_SECOND_LOOKS, share * num_calls):
                num_escalated += 1
                unread.setdefault(escalated, []).append(_Unread(content, result))
            else:
                yield result
        elif labeler is None and escalated is not None and is_close and result.verdict.outcome is Outcome.labelled:
            close.append(_Unread(content, result))
        elif labeler is None:
            yield result
        elif num_unread >= max(MIN_SECOND_LOOKS, SECOND_LOOK_SHARE * num_calls):
            yield result._replace(over_share=True)
        else:
            num_unread += 1
            unread.setdefault(labeler, []).append(_Unread(content, result))
    if escalated is not None and close:  # with what the critical rules have left
        remaining = max(0, int(max(MIN_SECOND_LOOKS, share * num_calls)) - num_escalated)
        unread.setdefault(escalated, []).extend(close[:remaining])
        yield from (row.first for row in close[remaining:])
    # Not among the first requests: an engine waits for the next of those before it yields its last answers.
    for labeler, rows_of_labeler in unread.items():
        yield from _second_looks(replace(spec, labeler=labeler), engine, rows_of_labeler)


def _second_looks(spec: LabelSpec, engine: Engine, unread: list[_Unread]) -> Iterator[Labelled]:
    """The rows after a second look under a spec. Whatever happens to that, the first answer is there."""
    firsts = {row.first.key: row.first for row in unread}
    requests = (_request(spec, Row(row.first.key, row.content)) for row in unread)
    try:
        for second in _answered(spec, replace(spec.call_spec, is_second_look=True), engine, requests):
            first = firsts.pop(second.key)
            if not second.called:
                yield first
            elif second.completion is None or second.verdict.outcome.is_unreadable:
                yield first._replace(other=second)
            else:
                yield second._replace(other=first)
    except SafeguardError:
        yield from firsts.values()


def _answered(
    spec: LabelSpec, call_spec: CallSpec, engine: Engine, requests: Iterator[Request | Decided]
) -> Iterator[Labelled]:
    for answer in engine.answers(call_spec, requests):
        yield _labelled(answer, spec, call_spec.contract)


def _request(spec: LabelSpec, row: Row) -> Request | Decided:
    prepared = prepare(spec, row.content)
    return Decided(row.key, prepared) if isinstance(prepared, Verdict) else Request(row.key, prepared)


def prepare(spec: LabelSpec, content: Content) -> prompt.Prompt | Verdict:
    """The prompt for a content, or the verdict if the content needs no model."""
    if content.invalid:
        return Verdict(Outcome.invalid_content, error=content.invalid)
    if content.is_empty:
        return Verdict(Outcome.empty)
    limit = spec.labeler.max_prompt_tokens
    if content.size > limit * CHARACTERS_PER_TOKEN:
        return Verdict(Outcome.too_long, error=f"over {limit * CHARACTERS_PER_TOKEN} characters")
    if spec.labeler.dialect is Dialect.chat:
        return prompt.chat(spec.policy.body, content)
    try:
        return prompt.harmony(spec.policy.body, spec.labeler.effort, content, limit)
    except prompt.TooLongError as problem:
        return Verdict(Outcome.too_long, error=str(problem))
    except prompt.InjectionError as problem:
        return Verdict(Outcome.invalid_content, error=str(problem))


def _labelled(answer: Answer, spec: LabelSpec, contract: Contract) -> Labelled:
    if answer.verdict is not None:
        return Labelled(answer.key, answer.verdict)
    if answer.unavailable:
        return Labelled(answer.key, Verdict(Outcome.engine_failed, error=answer.failure), unavailable=True)
    if answer.completion is None:
        if answer.prompt_limit is not None and (
            message := spec.policy_too_long_message("the server's context", answer.prompt_limit)
        ):
            raise PolicyError(f"{message} Shorten the policy, or serve the model with a longer context.")
        outcome = Outcome.too_long if answer.too_long else Outcome.engine_failed
        failed = Verdict(outcome, error=answer.failure)
        return Labelled(answer.key, failed, called=True, effort=spec.labeler.effort, retries=answer.retries)
    read = verdict.read(answer.completion, contract)
    return Labelled(
        answer.key, read, answer.completion, called=True, effort=spec.labeler.effort, retries=answer.retries
    )
