"""The tables of screens: what may clear contents, and what the audits of that say."""

from safeguard_spark.schema.table import Table

SCREENS = Table(
    "screens",
    "One row when a screen is made, and one more when it is retired.",
    {
        "screen_id STRING": "Identity of the screen: `s` and the start of its hash",
        "screen_hash STRING": (
            "SHA-256 over kind, classifier, policy hash, labeler hash and thresholds: the `labeler_hash` of what it "
            "clears"
        ),
        "kind STRING": "`linear` or `glance`",
        "policy STRING": "Policy name",
        "policy_version STRING": "The version whose labels it was calibrated on",
        "policy_hash STRING": "Its policy hash: the screen is refused for any other",
        "labeler STRING": "For people: model and effort of the labeler that it stands in for",
        "labeler_hash STRING": "Its labeler hash: the screen is refused for any other",
        "target DOUBLE": "The recall, relative to that labeler, below which the screen is retired",
        "risk DOUBLE": "The probability, over the calibration contents, that the recall is below the target",
        "threshold DOUBLE": "Contents with a score strictly below it are cleared; null if each stratum has its own",
        "rank BIGINT": "How many of the calibration violations lie below the threshold",
        "positives BIGINT": "Distinct violations that it was calibrated on",
        "contents BIGINT": "Distinct contents that it was trained, calibrated and tested on",
        "prevalence DOUBLE": "The share of violations among them",
        "cleared DOUBLE": "The share of the test contents that it clears",
        "cleared_low DOUBLE": "Its lower bound",
        "cleared_high DOUBLE": "Its upper bound",
        "recall DOUBLE": "The share of the test violations that it does not clear; null without one",
        "recall_low DOUBLE": "Its lower bound",
        "critical BOOLEAN": "Whether it may be used though the policy has critical rules",
        "collection STRING": "The collection whose contents it was made from",
        "labels_version BIGINT": "Version of `labels` that was read",
        "strata STRING": "The column of the source, or the expression over it, by which `thresholds` are; null: none",
        "thresholds ARRAY<STRUCT<stratum: STRING, positives: BIGINT, threshold: DOUBLE, rank: BIGINT>>": (
            "The threshold of each stratum, and its violations; null where they are too few, and nothing is cleared"
        ),
        "artifact STRING": "Where MLflow has the classifier; null if the kind has none",
        "artifact_sha256 STRING": "SHA-256 of the classifier's file",
        "created_at TIMESTAMP": "When it was made (UTC)",
        "retired_at TIMESTAMP": "When it was retired (UTC); null in the row of its making",
        "retired_reason STRING": "Why, in a sentence",
    },
    (("kind_known", "kind IN ('linear', 'glance')"),),
    added=("strata", "thresholds"),
)

SCREEN_AUDITS = Table(
    "screen_audits",
    "One row per run with a screen: what the labeler found among the contents that the screen cleared.",
    {
        "screen_id STRING": "The screen; joins to `screens`",
        "run_id STRING": "The run; joins to `runs`",
        "audited_at TIMESTAMP": "When it was counted (UTC)",
        "target DOUBLE": "The screen's target",
        "flagged BIGINT": "Distinct violations of this run that the screen did not clear",
        "cleared BIGINT": "Distinct contents that it cleared",
        "checked BIGINT": "Of these, drawn at random and judged by the labeler",
        "missed BIGINT": "Of these, violations",
        "recall DOUBLE": "Estimate of the recall, relative to the labeler, over all runs of the screen",
        "recall_low DOUBLE": "Its one-sided lower bound at 95 % (Clopper-Pearson; of several runs Fay-Feuer)",
        "recall_high DOUBLE": "Its one-sided upper bound at 99 %: the screen is retired if it is below the target",
        "finding STRING": "`shown`: the lower bound reaches the target; `not_shown`; `broken`: the screen is retired",
    },
    (("finding_known", "finding IN ('shown', 'not_shown', 'broken')"),),
)
