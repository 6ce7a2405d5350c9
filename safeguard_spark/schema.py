"""The tables other programs read. Adding a column is fine, renaming one is not."""

from collections.abc import Mapping
from typing import NamedTuple

from safeguard_spark.labelling.contract import CONFIDENCES
from safeguard_spark.labelling.verdict import Outcome


class Column(NamedTuple):
    """A column: its name, its Spark SQL type, and what it means."""

    name: str
    type: str
    comment: str
    is_private: bool = False  # tells a content from others, or may quote it


class Table(NamedTuple):
    """A table: its columns' meanings by `name TYPE` in order, its CHECK constraints, and what one row is.

    `added` are the columns that tables of earlier releases lack. They are null in the rows of those.
    """

    name: str
    comment: str
    meanings: Mapping[str, str]
    checks: tuple[tuple[str, str], ...] = ()
    private: tuple[str, ...] = ()
    added: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns in order."""
        split = ((*column.split(" ", 1), meaning) for column, meaning in self.meanings.items())
        return tuple(Column(name, kind, meaning, name in self.private) for name, kind, meaning in split)

    @property
    def ddl(self) -> str:
        """The columns as a Spark SQL schema."""
        return ", ".join(self.meanings)

    @property
    def names(self) -> list[str]:
        """Column names in order."""
        return [column.name for column in self.columns]

    @property
    def indexed(self) -> list[str]:
        """Columns whose lowest and highest value per file Delta keeps in its log, where an erasure does not reach."""
        return [c.name for c in self.columns if c.type in ("STRING", "INT", "BIGINT", "TIMESTAMP") and not c.is_private]


LABELS = Table(
    "labels",
    "One row per content, policy version and labeler. Append-only.",
    {
        "collection STRING": (
            "The set of contents in which the id is unique: `source.name`, by default as `source`; null in rows of "
            "earlier releases, which stands for `source`"
        ),
        "content_id STRING": "Id of the content in its collection",
        "content_hash STRING": "SHA-256 of the content: of the bytes of the text, or of role and text of every turn",
        "policy STRING": "Policy name",
        "policy_version STRING": "Policy version, for example `1.2.0`",
        "policy_hash STRING": (
            "SHA-256 of the policy's text, rule ids, categories, output, answer words: all that can change a label, "
            "but for its `labeler`, which is in `labeler_hash`"
        ),
        "labeler STRING": "For people: model and effort, for example `safeguard-demo/low`",
        "labeler_hash STRING": (
            "SHA-256 over everything besides policy and content that can change a label: model and revision, dialect, "
            "effort, sampling, limits, versions of prompt and contract"
        ),
        "work_key STRING": "Identity of the model call: SHA-256 of content, policy, labeler hash; joins to `reasoning`",
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
    added=("collection",),
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
        "rows BIGINT": "Contents to label: source rows x policies",
        "pending BIGINT": "Of these, without a final label when the run started",
        "calls BIGINT": "Model calls made; fewer than `pending` where contents are identical or need no model",
        "written BIGINT": "Rows appended to `labels`",
        "outcomes MAP<STRING, BIGINT>": "Rows appended, by outcome",
        "engine_starts INT": "Servers started; null for a run that died",
        "tokens MAP<STRING, BIGINT>": "`prompt`, `cached` and `completion` tokens",
        "seconds MAP<STRING, DOUBLE>": "Wall seconds: `recover`, `plan`, `label`, `commit`, `total`; phases overlap",
        "mlflow_run_id STRING": "The MLflow run, if there was one",
        "message STRING": "One sentence if something is left to do or went wrong",
        "plan_id STRING": "The plan of `plans` it applied; null for any other run",
        "config STRING": (
            "The resolved configuration as JSON, secrets hidden; `engine_forms` is how requests were written"
        ),
    },
    (("status_known", "status IN ('complete', 'partial', 'failed', 'died')"),),
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
        "scope_kind STRING": "`all`, `touched`, `since`, `where` or `sample`",
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
    (("scope_known", "scope_kind IN ('all', 'touched', 'since', 'where', 'sample')"),),
    added=("old_labeler_hash", "collection"),
)

# What review items are drawn for, the stages of a review, and the answers of a person.
PURPOSES = (
    "estimate", "calibration", "disagreement", "low_confidence", "unreadable", "appeal", "screened", "newly_caught",
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

TABLES = (LABELS, REASONING, RUNS, ACTIVATIONS, PLANS, REVIEW_ITEMS, DECISIONS, EVALUATIONS)
