"""What a run says whose contents got an outcome and no verdict."""

import pytest

from safeguard_spark.labelling.unjudged import LOOK, num_judged, unjudged_message
from safeguard_spark.labelling.verdict import Outcome


@pytest.mark.parametrize("outcome", sorted(set(Outcome)))
def test_a_run_without_verdicts_says_where_to_look_for_every_outcome_that_has_none(outcome: Outcome) -> None:
    message = unjudged_message({"abuse@2.0.0": {outcome: 41, "labelled": 3}})
    if outcome in (Outcome.labelled, Outcome.screened, Outcome.review):
        assert message is None and num_judged({outcome: 41}) == 41
        return
    assert num_judged({outcome: 41, "labelled": 3}) == 3
    assert message is not None
    assert message.startswith(f"abuse@2.0.0 could judge only 3 of 44 contents ({outcome} 41): {LOOK[outcome]}.")
    assert ("engine.version_class" in message) == (outcome in ("unparseable", "truncated", "refused", "too_long"))


def test_the_sentence_is_about_the_largest_outcome_of_each_policy_and_only_where_most_got_no_verdict() -> None:
    counts = {
        "abuse@1": {"unparseable": 2, "truncated": 900, "labelled": 100},
        "spam@1": {"labelled": 501, "unparseable": 501},
        "hate@1": {"empty": 1_200, "review": 5, "screened": 7},
        "idle@1": {},
    }
    message = unjudged_message(counts)
    assert message is not None
    assert (
        "abuse@1 could judge only 100 of 1,002 contents (truncated 900, unparseable 2): labeler.max_tokens" in message
    )
    assert "hate@1 could judge only 12 of 1,212 contents (empty 1,200): the source's text" in message
    assert "spam@1" not in message and "idle@1" not in message
