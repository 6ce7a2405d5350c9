"""The policies behind the labels: texts, rules, which version is active, and plans to re-label."""

from safeguard_spark.schema.table import Table

POLICIES = Table(
    "policies",
    "One row per policy version that a run used, and another when its document changes or it is published later.",
    {
        "policy STRING": "Policy name",
        "policy_version STRING": "Policy version",
        "policy_hash STRING": "Its policy hash, as its labels have it",
        "document_hash STRING": "SHA-256 of the whole document, with owner, titles and severities",
        "owner STRING": "Who answers for the policy, says the document; null if it does not",
        "output STRING": "The form of answer it asks for: `binary`, `category` or `full`",
        "languages ARRAY<STRING>": "Languages it was written and tested for, such as `en`; empty if it names none",
        "published_by STRING": "The user who published the document in the registry; null if it is not published there",
        "published_at TIMESTAMP": "When (UTC); null likewise",
        "recorded_at TIMESTAMP": "When this row was written (UTC)",
        "run_id STRING": "The run that wrote it; joins to `runs`",
        "description STRING": "What the policy is about, says the document; null if it does not",
        "text STRING": "The text that the model reads",
    },
)

POLICY_RULES = Table(
    "policy_rules",
    "One row per rule of each document of `policies`.",
    {
        "policy STRING": "Policy name",
        "policy_version STRING": "Policy version",
        "policy_hash STRING": "Its policy hash, as its labels have it",
        "document_hash STRING": "The document the rule is in, as in `policies`",
        "rule_id STRING": "Id of the rule, as in `labels.rule_ids`",
        "rank INT": "Its place in the document, from 1",
        "category STRING": "Its category",
        "severity STRING": "`low`, `medium`, `high` or `critical`; `medium` if the document does not say",
        "title STRING": "Its title; null if it has none",
        "recorded_at TIMESTAMP": "When this row was written (UTC)",
    },
)

ACTIVATIONS = Table(
    "policy_activations",
    "One row each time a policy version becomes active. The newest row of a policy names its active version.",
    {
        "policy STRING": "Policy name",
        "policy_version STRING": "Version that is active from then on",
        "policy_hash STRING": "Its policy hash; a label counts as current only if it has the same",
        "labeler STRING": "The labeler that is active with it, for people",
        "labeler_hash STRING": (
            "Its labeler hash; a label counts as current only if it has the same. Null in rows of earlier releases: any"
        ),
        "activated_at TIMESTAMP": "From when (UTC)",
        "run_id STRING": "The run that activated it",
        "reason STRING": "Why, in a few words",
        "forced BOOLEAN": "Whether the gate refused it and it was promoted anyway; null where no gate was evaluated",
        "gate STRING": "The gate's result, line by line, as JSON; null where no gate was evaluated",
    },
    added=("labeler", "labeler_hash"),
)

PLANS = Table(
    "plans",
    "One row per plan to re-label under another version of a policy.",
    {
        "plan_id STRING": "Identity of the plan: `p` and the start of its hash",
        "plan_hash STRING": "SHA-256 over what the plan selects and what it was made on",
        "created_at TIMESTAMP": "When it was first made (UTC)",
        "policy STRING": "Policy name",
        "old_version STRING": "Version whose labels the scope reads; null if there was none",
        "old_hash STRING": "Its policy hash; null if it has no labels",
        "old_labeler_hash STRING": "The labeler whose labels the scope reads; null: any",
        "new_version STRING": "Version to label under",
        "new_hash STRING": "Its policy hash",
        "labeler_hash STRING": "The labeler to label with, for which the calls were counted",
        "scope_kind STRING": "`all`, `touched`, `since`, `where`, `sample` or `screened-by`",
        "scope STRING": "The scope as JSON: rules, dates, strata with their sizes, seed",
        "collection STRING": "The collection of the contents; null in rows of earlier releases: as `source`",
        "source STRING": "Table or path of the content",
        "source_version BIGINT": "Delta version of the source; null for Parquet",
        "labels_version BIGINT": "Version of `labels` the scope reads",
        "rows BIGINT": "Contents in scope",
        "pending BIGINT": "Of these, without a final label under the new version",
        "calls BIGINT": "Model calls, identical contents collapsed",
        "prompt_tokens BIGINT": "Tokens of their prompts, before the prefix cache",
        "estimate STRING": "Tokens, engine-hours and cost at the rates of past runs, as JSON; null without past runs",
    },
    (("scope_known", "scope_kind IN ('all', 'touched', 'since', 'where', 'sample', 'screened-by')"),),
    added=("old_labeler_hash", "collection"),
)
