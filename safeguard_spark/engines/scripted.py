"""The shipped fake: an engine that follows a script instead of a model, for tests and trial runs.

It answers in the policy's output form and in the labeler's dialect, so everything around it is real. Words in the
content decide the answer:

    args:
      words: {replica: M1}        # content with the word violates the rule, if the policy has the rule; M1 may also be
                                  # a word for review, if the policy has that
      misbehave: {zzrefuse: refuse, zzgarbage: garbage, zzcut: truncate, zzfail: fail}
      latency_s: 0.01             # per call
      noise: 0.02                 # share of contents with another verdict; which ones depends on labeler and policy
      calls_file: /tmp/calls      # one byte is appended per call, to count calls of all processes
"""

import json
import math
import os
import time
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Self

from safeguard_spark.config.engine import Dialect, ScriptedConfig
from safeguard_spark.keys import sha256
from safeguard_spark.labelling.contract import Contract
from safeguard_spark.labelling.engine import Answer, CallSpec, Decided, Request
from safeguard_spark.labelling.prompt import harmony_encoding
from safeguard_spark.labelling.verdict import Completion
from safeguard_spark.policy.document import NONE, REVIEW, Output


class ScriptedEngine:
    """An `Engine` that follows a `Script`. It starts no server and never becomes unavailable."""

    server_ids: frozenset[str] = frozenset()
    unavailable: str | None = None
    forms: ClassVar[list[str]] = []

    def __init__(self, config: ScriptedConfig) -> None:
        self._sent_at: float | None = None
        self.script = config.args

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def answers(self, spec: CallSpec, requests: Iterable[Request | Decided]) -> Iterator[Answer]:
        """One answer per request, in order."""
        for request in requests:
            if isinstance(request, Decided):
                yield Answer(request.key, verdict=request.verdict)
                continue
            self._sent_at = time.monotonic()
            if self.script.latency_s:
                time.sleep(self.script.latency_s)
            if self.script.calls_file:
                _count(self.script.calls_file)
            answer = self._answer(spec, request)
            self._sent_at = None
            yield answer

    @property
    def oldest_s(self) -> float:
        """Age of the request that is being answered, seconds; 0 if there is none."""
        sent_at = self._sent_at
        return 0.0 if sent_at is None else time.monotonic() - sent_at

    def _answer(self, spec: CallSpec, request: Request) -> Answer:
        content = request.prompt.user_text.lower()
        behavior = next((value for word, value in self.script.misbehave.items() if word.lower() in content), None)
        if behavior == "fail":
            return Answer(request.key, failure="scripted failure")
        rules = [rule for word, rule in self.script.words.items() if word.lower() in content]
        known = (*spec.contract.category_of, *spec.contract.review)
        rule = next((rule for rule in rules if rule in known), None)
        rule = self._with_noise(spec, request, rule) if self.script.noise else rule
        if glance := spec.glance:
            violation = math.log(0.9 if rule else 0.1)
            odds = {glance.safe: math.log(0.1 if rule else 0.9), glance.violation: violation}
            token = glance.violation if rule else glance.safe
            return Answer(request.key, Completion("length", [token], completion_tokens=1, logprobs=odds))
        text, finish, reasoning = answer(spec.contract, rule), "stop", "The script says so."
        if behavior == "refuse":
            text = "I'm sorry, but I can't help with that."
        elif behavior == "garbage":
            text = "}{ nothing of use"
        elif behavior == "truncate":
            text, finish = text[: len(text) // 2], "length"
        return Answer(request.key, _completion(spec.labeler.dialect, request, reasoning, text, finish))

    def _with_noise(self, spec: CallSpec, request: Request, rule: str | None) -> str | None:
        """The rule; for a `noise` share of contents another verdict: no rule, or some rule where there was none."""
        prompt = request.prompt
        sample_score = int(sha256([spec.labeler.labeler_hash, prompt.policy_text, prompt.user_text])[:12], 16)
        rules = list(spec.contract.category_of)
        if sample_score / 16**12 >= self.script.noise or not rules:
            return rule
        return None if rule else rules[sample_score % len(rules)]


def answer(contract: Contract, rule: str | None) -> str:
    """An answer in a contract's output form: a violation of `rule`, none, or one of the words for review."""
    is_review = contract.is_review(rule)
    if contract.output is Output.binary:
        return str(rule) if is_review else "1" if rule else "0"
    category = REVIEW if is_review else contract.category_of[rule] if rule else NONE
    fields: dict[str, Any] = {"violation": int(rule is not None and not is_review)}
    if contract.output is Output.category:
        return json.dumps({**fields, "policy_category": category})
    rationale = f"Matches rule {rule}." if rule else "No rule matches."
    rules = [rule] if rule and not is_review else []
    return json.dumps({**fields, "category": category, "rule_ids": rules, "confidence": "high", "rationale": rationale})


def _completion(dialect: Dialect, request: Request, reasoning: str, text: str, finish: str) -> Completion:
    prompt_tokens = len(request.prompt.token_ids or request.prompt.user_text.split())
    if dialect is Dialect.chat:
        return Completion(finish, text=text, reasoning=reasoning, prompt_tokens=prompt_tokens, completion_tokens=8)
    message = f"<|channel|>analysis<|message|>{reasoning}<|end|><|start|>assistant<|channel|>final<|message|>{text}"
    ids = harmony_encoding().encode(message + ("<|return|>" if finish == "stop" else ""), allowed_special="all")
    return Completion(finish, token_ids=ids, prompt_tokens=prompt_tokens, completion_tokens=len(ids))


def _count(path: str) -> None:
    """Append one byte; O_APPEND makes that atomic across processes."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, b".")
    finally:
        os.close(file)
