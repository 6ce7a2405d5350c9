"""Replay: recorded answers, read as the answers of a model are."""

from safeguard_spark.labelling import verdict
from safeguard_spark.labelling.contract import Contract
from safeguard_spark.labelling.verdict import Completion, Verdict

ANSWER = "raw_output"  # column of a recording: the whole answer as text
OPTIONAL = ("reasoning", "finish_reason")  # columns that it may have: what the server separated, and why it stopped


def recorded_verdict(
    contract: Contract, raw_output: str | None, reasoning: str | None = None, finish_reason: str | None = None
) -> Verdict:
    """The verdict of a recorded answer, also if it still has harmony's special tokens. Never raises."""
    return verdict.read(Completion(finish_reason or "stop", text=raw_output or "", reasoning=reasoning), contract)
