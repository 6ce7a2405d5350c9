"""What people are asked to judge, and their decisions."""

from safeguard_spark.schema.table import Table

# What review items are drawn for, the stages of a review, and the answers of a person.
PURPOSES = (
    "estimate", "calibration", "disagreement", "low_confidence", "unreadable", "appeal", "screened", "newly_caught",
    "escalated",
)  # fmt: skip
STAGES = ("first", "second", "adjudication", "calibration")
ANSWERS = ("violation", "safe", "unsure", "gap", "withdrawn")


def _if(column: str, condition: str, opposite: str) -> str:
    """A column has a value exactly if a condition holds. Without brackets, which delta-rs loses when it writes."""
    return f"{column} IS NOT NULL AND {condition} OR {column} IS NULL AND {opposite}"


REVIEW_ITEMS = Table(
    "review_items",
    "One row per content that people are asked to judge.",
    {
        "item_id STRING": "Identity of the item: SHA-256 of its sample, purpose, content and policy version",
        "sample_id STRING": "The draw that made it",
        "purpose STRING": (
            "`estimate`: drawn at random, and the only items that enter a rate; `calibration`: its answer is known; "
            "any other is a queue that finds errors"
        ),
        "stratum STRING": "`flagged` or `unflagged`, by the model's verdict; null unless `estimate`",
        "stratum_size BIGINT": "Contents of that stratum in the table it was drawn from; null unless `estimate`",
        "inclusion_probability DOUBLE": "Probability with which the content was drawn; null unless `estimate`",
        "collection STRING": "Set of contents in which the id is unique",
        "content_id STRING": "Id of the content in its source table",
        "content_hash STRING": "SHA-256 of the content",
        "policy STRING": "Policy name",
        "policy_version STRING": "Version under which the content is judged",
        "policy_hash STRING": "Its policy hash",
        "labeler STRING": "For people: model and effort of the label; null without a label",
        "labeler_hash STRING": "The label's labeler hash",
        "work_key STRING": "Identity of the model call; joins to `reasoning`",
        "outcome STRING": "The label's outcome",
        "violation BOOLEAN": "The label's violation; null unless `labelled` or `screened`",
        "category STRING": "The label's category",
        "rule_ids ARRAY<STRING>": "Ids of the rules that the label names",
        "confidence STRING": "The label's confidence",
        "labelled_at TIMESTAMP": "When the label was committed (UTC)",
        "drawn_at TIMESTAMP": "When the item was drawn (UTC)",
        "appeal_id STRING": "The appeal it is about; null if there is none",
        "appealed_at TIMESTAMP": "When the appeal was made (UTC)",
        "known_violation BOOLEAN": "The known answer; null unless `calibration`",
        "known_rule_ids ARRAY<STRING>": "Ids of the rules of the known answer",
        "draw STRING": (
            "The draw as JSON: sizes of the strata, labels without a verdict, scope, seed, version of `labels`; null "
            "in rows of other programs"
        ),
        "rationale STRING": "The label's rationale. It may quote the content",
        "appeal_reason STRING": "What the appeal says",
        "content STRING": (
            'The content as JSON: `{"text": …}`, `{"turns": [[role, text], …]}`, or `{"invalid": cause}`'
        ),
    },
    (
        ("purpose_known", f"purpose IN {PURPOSES}"),
        (
            "probability_only_of_estimates",
            _if("inclusion_probability", "purpose = 'estimate'", "purpose <> 'estimate'"),
        ),
        ("answer_only_of_calibrations", _if("known_violation", "purpose = 'calibration'", "purpose <> 'calibration'")),
    ),
    private=("item_id", "content_id", "content_hash", "work_key", "rationale", "appeal_reason", "content"),
    added=("draw",),
)

DECISIONS = Table(
    "decisions",
    "One row each time a person says what an item is, or takes that back. Append-only.",
    {
        "decision_id STRING": "Identity of the row",
        "item_id STRING": "The item; joins to `review_items`",
        "collection STRING": "Set of contents in which the id is unique",
        "content_id STRING": "Id of the content in its source table",
        "content_hash STRING": "SHA-256 of the content that was shown",
        "policy STRING": "Policy name",
        "policy_version STRING": "Version under which it was judged",
        "policy_hash STRING": "Its policy hash",
        "stage STRING": (
            "`first` review; `second`, by another person; `adjudication` where these two differ; `calibration`"
        ),
        "reviewer STRING": "Pseudonym of the person: an HMAC of their name; the key stays with the console",
        "answer STRING": (
            "`violation`, `safe`, `unsure`, `gap` (the policy does not say), or `withdrawn` (takes a row back)"
        ),
        "violation BOOLEAN": "Whether the policy is violated; null unless the answer is `violation` or `safe`",
        "rule_ids ARRAY<STRING>": "Ids of the violated rules; empty if there are none, never null",
        "is_blind BOOLEAN": "Whether it was made before the person had seen the model's verdict or another decision",
        "withdraws STRING": "The `decision_id` that this row takes back; null unless `withdrawn`",
        "seconds DOUBLE": "Seconds from when the item was shown",
        "decided_at TIMESTAMP": "When it was made (UTC)",
        "reason STRING": "The person's reason. It may quote the content",
    },
    (
        ("stage_known", f"stage IN {STAGES}"),
        ("answer_known", f"answer IN {ANSWERS}"),
        (
            "violation_only_if_decided",
            _if("violation", "answer IN ('violation', 'safe')", "answer NOT IN ('violation', 'safe')"),
        ),
        ("withdraws_only_if_withdrawn", _if("withdraws", "answer = 'withdrawn'", "answer <> 'withdrawn'")),
    ),
    private=("decision_id", "item_id", "content_id", "content_hash", "withdraws", "reason"),
)

GOLD = Table(
    "gold",
    "One row per content and policy version that people have decided. `safeguard review export --to gold` replaces it.",
    {
        "item_id STRING": "The item that was decided last; joins to `review_items`",
        "purpose STRING": "What it was drawn for; only rows of `estimate` are a random sample",
        "stratum STRING": "`flagged` or `unflagged`, by the model's verdict; null unless `estimate`",
        "inclusion_probability DOUBLE": "Probability with which the content was drawn; null unless `estimate`",
        "collection STRING": "Set of contents in which the id is unique",
        "content_id STRING": "Id of the content in its source table",
        "content_hash STRING": "SHA-256 of the content",
        "policy STRING": "Policy name",
        "policy_version STRING": "Version under which it was judged",
        "policy_hash STRING": "Its policy hash",
        "violation BOOLEAN": "Whether people say that the policy is violated",
        "rule_ids ARRAY<STRING>": "Ids of the rules that people name; empty if there are none",
        "model_violation BOOLEAN": "What the label said; null if it had no verdict",
        "stage STRING": "`first`, or `adjudication` where two people differed",
        "decided_at TIMESTAMP": "When it was decided (UTC)",
        "text STRING": "The content, if it is a text",
        "conversation STRING": "The content as JSON, if it is a conversation: a list of role and text",
    },
    private=("item_id", "content_id", "content_hash", "text", "conversation"),
)
