"""The metrics of evaluations on golden sets."""

from safeguard_spark.schema.table import Table

EVALUATIONS = Table(
    "evaluations",
    "One row per metric of an evaluation on a golden set. Append-only.",
    {
        "evaluation_id STRING": "Identity of the evaluation",
        "evaluated_at TIMESTAMP": "When it was made (UTC)",
        "golden_set STRING": "The golden set, `name@version`",
        "set_digest STRING": "SHA-256 over what determines the set's contents and answers",
        "cohort_hash STRING": (
            "SHA-256 of the cohort; only metrics with the same one may be compared or stand in one figure"
        ),
        "policy STRING": "Policy name; `*` for a metric over all of `policies`",
        "policy_version STRING": "Its version; null with `*`",
        "policy_hash STRING": "Its policy hash; null with `*`",
        "labeler STRING": "For people: model and effort, or the recording; null with `*`",
        "labeler_hash STRING": "The labeler hash; of a recording, the SHA-256 of its file",
        "side STRING": "What is evaluated, for people; several of one evaluation are compared",
        "policies ARRAY<STRING>": "`name@version` of every policy that this side has on the set",
        "slice STRING": (
            "`*`: all contents; `column=value`: a part; `rule:ID`, `category:NAME`: how well that name is given"
        ),
        "metric STRING": (
            "`recall`, `precision`, `f1`, `false_positive_rate`, `accuracy`, `unreadable_rate`, `exact_match` or "
            "`disagreement`"
        ),
        "value DOUBLE": "The metric; null where nothing could be measured",
        "low DOUBLE": "Lower end of its 95 % interval",
        "high DOUBLE": "Upper end of it",
        "n BIGINT": "Contents with a known answer",
        "positives BIGINT": "Of these, violations as people see it; null for metrics of contents as a whole",
        "tp BIGINT": "Violations that were flagged",
        "fp BIGINT": "Safe contents that were flagged, or whose answer could not be read",
        "fn BIGINT": "Violations that were not flagged, or whose answer could not be read",
        "tn BIGINT": "Safe contents that were not flagged; null for a rule or category",
        "unreadable BIGINT": "Of the contents with a known answer, those whose verdict could not be read",
        "unknown BIGINT": "Contents without a known answer, which are left out",
        "method STRING": "How the interval was made: `wilson` or `wilson_jaccard`",
        "tokens_per_thousand DOUBLE": "Tokens of a thousand calls, prompts included; null if unknown",
        "cost_per_thousand DOUBLE": "Cost of a thousand calls by `relabel.price_per_engine_hour`; null if unknown",
        "answers STRING": "`model`, or where the recorded answers are",
        "run_ids ARRAY<STRING>": "The label runs of the evaluation; join to `runs`",
        "mlflow_run_id STRING": "The MLflow run, if there was one",
        "cohort STRING": "The cohort as JSON",
    },
)
