"""Unjudged: what to say after a run in which most contents got no verdict, although each has its outcome."""

from collections.abc import Mapping

from safeguard_spark.labelling.verdict import Outcome

# Where to look, by the outcome that most of the contents have.
LOOK = {
    Outcome.unparseable: "reasoning.raw_output shows what the model said, `safeguard verify --show-answers` for cases",
    Outcome.truncated: "labeler.max_tokens may be too small; reasoning.raw_output shows how far the model came",
    Outcome.refused: "the model or its content filter declines; reasoning.raw_output shows what it said, if anything",
    Outcome.too_long: "labeler.max_prompt_tokens or the server's context is too small, or the policy too long",
    Outcome.empty: "the source's text or conversation column may be another one",
    Outcome.invalid_content: "the source's text or conversation column may be another one, or of another form",
    Outcome.engine_failed: "labels.error says why",
}
# A final outcome is not tried again as it is. What leaves the identity of the call as it was needs a new one.
AGAIN = (
    "After a change to the policy or to labeler.*, the same command labels them again; after one to the server alone, "
    "set engine.version_class to another value first"
)


def num_judged(outcomes: Mapping[str, int]) -> int:
    """How many contents have a verdict, of counts by outcome."""
    return sum(count for name, count in outcomes.items() if Outcome(name) not in LOOK)


def unjudged_message(by_policy: Mapping[str, Mapping[str, int]]) -> str | None:
    """A sentence for each policy under which most contents got no verdict: why, where to look, and what then.

    `by_policy`: counts of what a run wrote by outcome, by name@version. None if most contents got a verdict.
    """
    sentences = [_sentence(ref, outcomes) for ref, outcomes in by_policy.items()]
    return " ".join(filter(None, sentences)) or None


def _sentence(ref: str, outcomes: Mapping[str, int]) -> str:
    total, judged = sum(outcomes.values()), num_judged(outcomes)
    if judged * 2 >= total:
        return ""
    without = {Outcome(name): count for name, count in outcomes.items() if Outcome(name) in LOOK}
    outcome = max(without, key=lambda outcome: without[outcome])
    of_content = outcome in (Outcome.empty, Outcome.invalid_content)
    again = "If it is, correct it and issue the command again" if of_content else AGAIN
    again = "" if outcome is Outcome.engine_failed else f" {again}."  # tried again anyway
    counts = ", ".join(f"{name} {count:,}" for name, count in sorted(without.items()))
    return f"{ref} could judge only {judged:,} of {total:,} contents ({counts}): {LOOK[outcome]}.{again}"
