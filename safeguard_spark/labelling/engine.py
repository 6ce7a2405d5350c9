"""The seam to the model: requests in, answers out, in any order, with a bounded number in flight."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from safeguard_spark.labelling.contract import Contract
from safeguard_spark.labelling.labeler import Labeler
from safeguard_spark.labelling.prompt import Prompt
from safeguard_spark.labelling.verdict import Completion


class Request(NamedTuple):
    """One model call. `key` is the caller's own; it comes back with the answer."""

    key: int
    prompt: Prompt


class Answer(NamedTuple):
    """What became of a request: a completion, or a short cause why there is none (never content).

    `too_long`: because the prompt is longer than the model takes, and always will be; `prompt_limit` is how many tokens
    it takes, if known.
    """

    key: int
    completion: Completion | None = None
    failure: str | None = None
    too_long: bool = False
    prompt_limit: int | None = None


@dataclass(frozen=True)
class CallSpec:
    """What all requests of one call share: the labeler's sampling and the policy's output contract."""

    labeler: Labeler
    contract: Contract


class Engine(Protocol):
    """A way to ask a model. Use as a context manager; one thread at a time."""

    @property
    def engine_ids(self) -> frozenset[str]:
        """Servers this run started that this engine knows of, each life of one its own id. Empty if none."""
        ...

    @property
    def in_flight(self) -> int:
        """Requests asked and not answered."""
        ...

    @property
    def oldest_s(self) -> float:
        """Age of the oldest unanswered request, seconds; 0 if there is none."""
        ...

    @property
    def lost(self) -> str | None:
        """Why the engine cannot be asked any more although it once answered or started; None while it can."""
        ...

    def answers(self, task: CallSpec, requests: Iterable[Request]) -> Iterator[Answer]:
        """Yield exactly one answer per request, as they finish.

        Requests are pulled only as the window allows, so input may be endless. Raises EngineError only if the
        engine could not be reached at all, before the first answer; afterwards a lost request is an answer with
        `failure`.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
