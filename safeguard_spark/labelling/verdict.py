"""Verdict: the labeler's answer about one content under one policy. Reading is total: any completion, one outcome.

Reading has two steps: which text is the final answer (`channels`), and what it says under the contract (`answer`). What
each accepts beyond the contract is listed in docs/tables.md, "How an answer is read".
"""

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, NamedTuple

from safeguard_spark.labelling import answer, channels
from safeguard_spark.labelling.channels import Channels
from safeguard_spark.labelling.contract import Contract
from safeguard_spark.policy.names import level


class Outcome(StrEnum):
    """Exactly one per content and policy. Only `labelled` and `screened` carry a violation.

    `review` carries the category `review`, and the rules and the rationale that the answer has.
    """

    labelled = "labelled"
    refused = "refused"
    unparseable = "unparseable"
    truncated = "truncated"
    too_long = "too_long"
    empty = "empty"
    invalid_content = "invalid_content"
    engine_failed = "engine_failed"
    screened = "screened"
    review = "review"  # the answer of a policy that leaves some contents to a person

    def may_change(self, temperature: float) -> bool:
        """Whether the same call may have another outcome next time.

        At temperature 0 the model repeats an answer that could not be read; a sampled answer may be better.
        """
        return self is Outcome.engine_failed or (self.is_unreadable and temperature > 0)

    @property
    def is_unreadable(self) -> bool:
        """Whether the model answered, and the answer could not be read."""
        return self in (Outcome.unparseable, Outcome.truncated)


class Completion(NamedTuple):
    """An engine's raw answer: token ids (harmony), or text and the reasoning that the server separated (chat)."""

    finish_reason: str | None
    token_ids: list[int] | None = None
    text: str | None = None
    reasoning: str | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    logprobs: dict[int, float] | None = None  # of a glance, by token id


@dataclass(frozen=True, slots=True)
class Verdict:
    """One outcome; if labelled, the decision. `error` is a short cause, never content."""

    outcome: Outcome
    violation: bool | None = None
    category: str | None = None
    rule_ids: tuple[str, ...] = ()
    confidence: str | None = None
    rationale: str | None = None
    error: str | None = None
    reasoning: str | None = None
    raw_output: str | None = None


# Finish reasons, levelled. Of an answer that the engine stopped:
CUT_SHORT = ("length", "repetition", "maxtokens", "maxoutputtokens", "maxlength", "modellength")
# Of a server that withheld the answer. Some add a detail, as in `content_filter: OTHER`.
FILTERED = (
    "contentfilter", "contentfiltered", "safety", "imagesafety", "sensitive", "guardrailintervened", "blocklist",
    "prohibitedcontent", "spii", "recitation",
)  # fmt: skip
NO_FINAL_MESSAGE = "no final message"  # harmony's: also what another kind of model's answer is read as
DECLINED = "refusal"  # of a server that says that the model declined

# How a refusal begins: "I cannot help with that", with an apology before it or not. What the model cannot do is to
# answer: "I cannot find any violation" is no refusal. An apology alone is none: "Sorry, this is a scam".
_POLITE = (
    r"i|i['’]m|am|so|very|truly|really|sorry|my|our|sincere|apolog\w+|unfortunately|regretfully|but|as|an?|ai|language|"
    r"model|assistant|es|tut|mir|leid|leider|aber|entschuldigung|dabei|das|diesen?|inhalt|ich|lo|siento|lamento|mucho|"
    r"lamentablemente|desafortunadamente|pero|disculpa\w*|perdón|je|suis|désolée?|mais|malheureusement|pardon|desculpe|"
    r"sinto|muito|mas|infelizmente"
)
_CANNOT = (
    (
        r"i (?:can(?:['’]?t|not| not)|could(?: not|n['’]t)|won['’]t|will not)|"
        r"(?:i['’]?m |i am )?(?:unable|not able) to",
        r"help|assist|comply|continue|provide|fulfil\w*|answer|respond|engage|process|discuss|participate|support|"
        r"classify|evaluate|assess|judge|analy[sz]e|do (?:that|this|so)",
    ),
    (
        r"(?:kann|werde|darf|möchte)\b[^.!?:\n]{0,40}\b(?:nicht|keine?)",
        r"helfen|weiterhelfen|unterstützen|antworten|beantworten|bearbeiten|erfüllen|nachkommen|einstufen|beurteilen|"
        r"bewerten",
    ),
    (
        r"no (?:puedo|podré|me es posible)",
        r"ayudar\w*|asistir\w*|continuar|cumplir|responder|proporcionar|clasificar|evaluar|procesar",
    ),
    (r"je ne (?:peux|pourrai) pas", r"\w*['’]?aider|assister|continuer|répondre|fournir|classer|évaluer|traiter"),
    (
        r"não (?:posso|poderei|consigo)",
        r"ajudar\w*|auxiliar|continuar|responder|fornecer|classificar|avaliar|processar",
    ),
)
_REFUSAL = re.compile(
    rf"\A\W*(?:(?:{_POLITE})\W+)*?(?:"
    + "|".join(rf"(?:{cannot})\b[^.!?:\n]{{0,60}}?(?<!\w)(?:{task})(?!\w)" for cannot, task in _CANNOT)
    + r"|i (?:must|have to) (?:respectfully )?(?:decline|refuse)|(?:sorry|apologi[sz]e)\W+(?:but )?no\W*\Z)",
    re.IGNORECASE,
)


def read(completion: Completion, contract: Contract) -> Verdict:
    """The verdict of a completion under a contract. Never raises."""
    is_cut = _reason(completion.finish_reason) in CUT_SHORT
    if completion.token_ids is None:
        parts = channels.of_text(completion.text or "", completion.reasoning, is_cut)
    else:
        parts = channels.of_ids(completion.token_ids)
    if cause := refusal_cause(completion.finish_reason):
        verdict = Verdict(Outcome.refused, error=cause)
    elif is_cut and not (parts.finals and all(final.is_whole for final in parts.finals)):
        verdict = Verdict(Outcome.truncated, error="the answer was cut short")
    else:
        verdict = _read_finals(parts, contract)
    return replace(verdict, reasoning=parts.reasoning, raw_output=parts.raw)


def refusal_cause(finish_reason: Any) -> str | None:
    """Why a server gave no answer, by a reply's finish reason; None if it did not refuse."""
    reason = _reason(finish_reason)
    return "content_filter" if reason in FILTERED else "the model declined" if reason == DECLINED else None


def _reason(finish_reason: Any) -> str:
    return level(finish_reason.partition(":")[0]) if isinstance(finish_reason, str) else ""


def _read_finals(parts: Channels, contract: Contract) -> Verdict:
    texts = [final.text for final in parts.finals]
    try:
        if not texts:
            raise answer.UnreadableError(NO_FINAL_MESSAGE)
        fields = answer.fields(texts, contract, is_exact=parts.is_leaked)
        return Verdict(Outcome.review if fields["violation"] is None else Outcome.labelled, **fields)
    except answer.UnreadableError as error:
        if any(_REFUSAL.match(text) for text in texts or [parts.raw or ""]):
            return Verdict(Outcome.refused, error="the model declined")
        return Verdict(Outcome.unparseable, error=str(error))
    except RecursionError:
        return Verdict(Outcome.unparseable, error="answer nested too deeply")
