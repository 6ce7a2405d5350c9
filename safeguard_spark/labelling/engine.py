"""The interface to the model: requests in, answers out in any order, with a bounded number in flight."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol, Self

from safeguard_spark.labelling.contract import Contract
from safeguard_spark.labelling.labeler import Labeler
from safeguard_spark.labelling.prompt import Prompt
from safeguard_spark.labelling.verdict import Completion, Verdict


class Request(NamedTuple):
    """One model call. `key` is the caller's own; it comes back with the answer."""

    key: int
    prompt: Prompt


class Decided(NamedTuple):
    """A row that needs no model call. An engine passes its verdict on as an `Answer`."""

    key: int
    verdict: Verdict


class Answer(NamedTuple):
    """The result of a request: a completion, or a short cause why there is none (never content).

    `verdict`: that of a `Decided` row, which has neither.
    `too_long`: the prompt is longer than the model's context, so a retry cannot help; `prompt_limit` is how many
    tokens the model takes, if known.
    `unavailable`: `failure` is the engine's, not this row's. The request was not answered, and does not count.
    `retries`: how often the request was sent again.
    """

    key: int
    completion: Completion | None = None
    failure: str | None = None
    too_long: bool = False
    prompt_limit: int | None = None
    verdict: Verdict | None = None
    unavailable: bool = False
    retries: int = 0


class Glance(NamedTuple):
    """What follows a prompt, as token ids, and the two tokens that may follow that."""

    forced: tuple[int, ...]
    safe: int
    violation: int

    def prompt(self, prompt: Prompt) -> Prompt:
        """A prompt up to the answer's first word."""
        return prompt._replace(token_ids=[*(prompt.token_ids or ()), *self.forced])


@dataclass(frozen=True)
class CallSpec:
    """What all requests of one call share: the labeler's sampling and the policy's output contract.

    With a `glance` one token is generated, and the completion has the log probabilities of the two that it names.
    `is_second_look`: an engine that does not take such requests leaves them unanswered, and stays available.
    """

    labeler: Labeler
    contract: Contract
    is_second_look: bool = False
    glance: Glance | None = None


class Engine(Protocol):
    """Sends prompts to a model. Use as a context manager, from one thread at a time."""

    @property
    def server_ids(self) -> frozenset[str]:
        """The `server_id` of every server that this run started and this engine has used. Empty if none."""
        ...

    @property
    def oldest_s(self) -> float:
        """Age of the oldest unanswered request, seconds; 0 if there is none."""
        ...

    @property
    def forms(self) -> list[str]:
        """How requests are written for this engine, as JSON. Empty before the first answer, and without a server."""
        ...

    @property
    def unavailable(self) -> str | None:
        """Why the engine can no longer answer although it once did or started; None while it can."""
        ...

    def answers(self, spec: CallSpec, requests: Iterable[Request | Decided]) -> Iterator[Answer]:
        """Yield exactly one answer per request, as they finish; that of a `Decided` row at once.

        Requests are pulled only as the window allows, so input may be endless. Nothing is started or connected to
        before the first request that is not decided. Raises EngineError only if the engine has answered no request
        and cannot; afterwards a request that fails is an answer with `failure`.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...
