"""The labels, the reasoning behind them, and the runs that wrote them."""

from safeguard_spark.labelling.contract import CONFIDENCES
from safeguard_spark.labelling.verdict import Outcome
from safeguard_spark.schema.table import Table

LABELS = Table(
    "labels",
    "One row per content, policy version and labeler. Append-only.",
    {
        "collection STRING": (
            "The set of contents in which the id is unique: `source.name`, by default as `source`; null in rows of "
            "earlier releases, which stands for `source`"
        ),
        "content_id STRING": "Id of the content in its collection",
        "content_hash STRING": "SHA-256 of the content, text or turns, in a form of its own (below)",
        "policy STRING": "Policy name",
        "policy_version STRING": "Policy version, for example `1.2.0`",
        "policy_hash STRING": (
            "SHA-256 of the policy's text, rule ids, categories, output, answer words: all that can change a label, "
            "but for its `labeler`, which is in `labeler_hash`"
        ),
        "labeler STRING": "For people: model and effort, for example `safeguard-demo/low`",
        "labeler_hash STRING": (
            "SHA-256 over everything besides policy and content that can change a label: model and revision, dialect, "
            "effort, sampling, limits, versions of prompt and contract. Of a screened content, the screen's hash"
        ),
        "work_key STRING": (
            "Identity of the model call, or of the one that a screen spared: SHA-256 of content, policy, labeler hash; "
            "joins to `reasoning`"
        ),
        "outcome STRING": "The result for this content; only `labelled` and `screened` have a violation",
        "violation BOOLEAN": "Whether the policy is violated; null unless `labelled` or `screened`",
        "category STRING": (
            "Category of the violated rule; `review` if a person must decide; null if none is violated, and with "
            "binary output"
        ),
        "rule_ids ARRAY<STRING>": "Ids of the rules the verdict names; empty if there are none, never null",
        "confidence STRING": "`low`, `medium` or `high`: the model's own estimate, no probability; null if none",
        "model STRING": "Model name: `engine.model_name`, else `engine.model`",
        "effort STRING": (
            "Reasoning effort: `low`, `medium` or `high`; `none`: the model has none. That of the second look if its "
            "answer counts"
        ),
        "prompt_tokens BIGINT": (
            "Tokens of the prompt, of both with a second look; null where this row made no call (no model was needed, "
            "or the call is counted on another id of the same content)"
        ),
        "cached_tokens BIGINT": "Of these, served from the prefix cache",
        "completion_tokens BIGINT": "Tokens generated, reasoning included",
        "attempt INT": "Number of this attempt at the content, from 1",
        "run_id STRING": "The run that wrote the row; joins to `runs`",
        "chunk INT": "The chunk it was committed with: its number in that run, from 0, over all policies of the run",
        "source STRING": "Table or path the content came from",
        "source_version BIGINT": "Delta version of the source that was read; null for Parquet",
        "labelled_at TIMESTAMP": (
            "When the row was committed (UTC); later commits have later times, whatever the drivers' clocks say"
        ),
        "salt STRING": (
            "Set where a call was repeated to measure how often the labeler disagrees with itself; such a label never "
            "counts and is not in `labels_current`"
        ),
        "carried_from STRING": (
            "Version whose verdict this is, where a change of the policy did not affect it and the model was not "
            "called again; null for every label that was made"
        ),
        "screen STRING": (
            "The screen that cleared the content; joins to `screens`. With another outcome than `screened` the labeler "
            "was called all the same, to audit the screen"
        ),
        "screened_for STRING": (
            "Hash of the labeler that the screen stands in for, whose call was spared; null unless `screened`"
        ),
        "error STRING": "Short cause of an outcome other than `labelled`; never content",
        "rationale STRING": "The model's one-line reason. It may quote the content",
    },
    (
        ("outcome_known", f"outcome IN {tuple(outcome.value for outcome in Outcome)}"),
        ("violation_only_if_judged", "(violation IS NOT NULL) = (outcome IN ('labelled', 'screened'))"),
        ("confidence_known", f"confidence IS NULL OR confidence IN {tuple(CONFIDENCES)}"),
        ("attempt_positive", "attempt >= 1"),
    ),
    private=("content_id", "content_hash", "work_key", "rationale"),
    added=("collection", "screen", "screened_for"),
)

REASONING = Table(
    "reasoning",
    "One row per model call. A table of its own so that access to it can be granted separately.",
    {
        "work_key STRING": "Identity of the model call",
        "finish_reason STRING": (
            "Why generation ended: `stop`, `length`, `abort`, `error`, `repetition`; null if there was no answer"
        ),
        "run_id STRING": "The run that made the call",
        "labelled_at TIMESTAMP": (
            "When the row was committed (UTC). With a second look, the answer that counts is a microsecond later"
        ),
        "reasoning STRING": "The model's reasoning before its answer; null if there is none",
        "raw_output STRING": "The whole completion as text, special tokens included",
    },
    private=("work_key", "reasoning", "raw_output"),
)

RUNS = Table(
    "runs",
    "One row per run.",
    {
        "run_id STRING": "Identity of the run",
        "status STRING": "`complete`; `partial` (issue the same command again); `failed`; `died` (the driver was lost)",
        "started_at TIMESTAMP": "When it started (UTC)",
        "ended_at TIMESTAMP": "When it ended (UTC); for a run that died, when another run noticed",
        "source STRING": "Table or path of the content",
        "source_version BIGINT": "Delta version of the source; null for Parquet",
        "policies ARRAY<STRING>": "`name@version` of every policy",
        "policy_hashes ARRAY<STRING>": "Their policy hashes, in the same order",
        "labeler_hashes ARRAY<STRING>": "The labeler hashes, in the same order",
        "config_hash STRING": "SHA-256 of the resolved configuration",
        "labels_version_in BIGINT": "Version of `labels` the run was planned on",
        "labels_version_out BIGINT": "Version of `labels` after it",
        "rows BIGINT": "Source rows x policies; the same row twice counts twice",
        "pending BIGINT": "Of these, without a final label when the run started",
        "calls BIGINT": "Model calls made; fewer than `pending` where contents are identical or need no model",
        "written BIGINT": "Rows appended to `labels`",
        "outcomes MAP<STRING, BIGINT>": "Rows appended, by outcome",
        "engine_starts INT": "Servers started; null for a run that died",
        "tokens MAP<STRING, BIGINT>": "`prompt`, `cached` and `completion` tokens",
        "seconds MAP<STRING, DOUBLE>": "Wall seconds: `recover`, `plan`, `label`, `commit`, `total`; phases overlap",
        "mlflow_run_id STRING": "The MLflow run, if there was one",
        "message STRING": "One sentence if something is left to do or went wrong",
        "screen_id STRING": "The screen that it used; null if none",
        "spared BIGINT": "Calls that the screen spared",
        "screen_recall_low DOUBLE": "Lower bound (95 %) of the screen's recall, by the audits of all its runs so far",
        "plan_id STRING": "The plan of `plans` it applied; null for any other run",
        "config STRING": (
            "The resolved configuration as JSON, secrets hidden; `engine_forms` is how requests were written"
        ),
    },
    (("status_known", "status IN ('complete', 'partial', 'failed', 'died')"),),
    added=("screen_id", "spared", "screen_recall_low"),
)
