"""The tables other programs read. Adding a column is fine, renaming one is not."""

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
    """A table: its columns in order, its CHECK constraints, and what one row is."""

    name: str
    comment: str
    columns: tuple[Column, ...]
    checks: tuple[tuple[str, str], ...] = ()

    @property
    def ddl(self) -> str:
        """The columns as a Spark SQL schema."""
        return ", ".join(f"{column.name} {column.type}" for column in self.columns)

    @property
    def later(self) -> list[str]:
        """Columns that tables of older releases lack."""
        return [column.name for column in self.columns if column.name in LATER]

    @property
    def names(self) -> list[str]:
        """Column names in order."""
        return [column.name for column in self.columns]

    @property
    def indexed(self) -> list[str]:
        """Columns whose lowest and highest value per file Delta keeps in its log, where an erasure does not reach."""
        return [c.name for c in self.columns if c.type in ("STRING", "INT", "BIGINT", "TIMESTAMP") and not c.is_private]


LATER = ("salt", "carried_from", "plan_id", "forced", "gate")


def _in(column: str, values: tuple[str, ...]) -> str:
    return f"{column} IS NULL OR {column} IN ({', '.join(repr(value) for value in values)})"


LABELS = Table(
    "labels",
    "One row per content id, policy version and labeler. Append-only.",
    (
        Column("content_id", "STRING", "Id of the content in its source table", is_private=True),
        Column("content_hash", "STRING", "SHA-256 of the content's canonical form", is_private=True),
        Column("policy", "STRING", "Policy name"),
        Column("policy_version", "STRING", "Policy version"),
        Column("policy_hash", "STRING", "SHA-256 over what in the policy can change a label"),
        Column("labeler", "STRING", "Model and effort"),
        Column("labeler_hash", "STRING", "SHA-256 over everything else that can change a label"),
        Column(
            "work_key",
            "STRING",
            "Identity of the model call: SHA-256 of content, policy and labeler hash",
            is_private=True,
        ),
        Column("outcome", "STRING", "What became of the content; only labelled and screened carry a violation"),
        Column("violation", "BOOLEAN", "Whether the policy is violated; null unless labelled or screened"),
        Column("category", "STRING", "Category of the violated rule; null if nothing is violated"),
        Column("rule_ids", "ARRAY<STRING>", "Ids of the rules the verdict names"),
        Column("confidence", "STRING", "low, medium or high: the model's word, not a probability"),
        Column("model", "STRING", "Model name"),
        Column("effort", "STRING", "Reasoning effort"),
        Column("prompt_tokens", "BIGINT", "Tokens of the prompt of the call; null where no call was made"),
        Column("cached_tokens", "BIGINT", "Prompt tokens served from the prefix cache"),
        Column("completion_tokens", "BIGINT", "Tokens generated, reasoning included"),
        Column("attempt", "INT", "Which try this outcome is, from 1"),
        Column("run_id", "STRING", "The run that wrote the row"),
        Column("chunk", "INT", "The chunk of the run that committed it"),
        Column("source", "STRING", "Table or path the content came from"),
        Column("source_version", "BIGINT", "Delta version of the source; null for Parquet"),
        Column("labelled_at", "TIMESTAMP", "When the row was committed (UTC)"),
        Column("salt", "STRING", "Set where a call was repeated to measure noise; such a label never counts"),
        Column("carried_from", "STRING", "Version whose verdict this is, where the policy's change did not touch it"),
        Column("error", "STRING", "Short cause of an outcome other than labelled; never content"),
        Column("rationale", "STRING", "The model's one-line reason", is_private=True),
    ),
    (
        ("outcome_known", f"outcome IN ({', '.join(repr(o.value) for o in Outcome)})"),
        ("violation_only_if_judged", "(violation IS NOT NULL) = (outcome IN ('labelled', 'screened'))"),
        ("confidence_known", _in("confidence", CONFIDENCES)),
        ("attempt_positive", "attempt >= 1"),
    ),
)

REASONING = Table(
    "reasoning",
    "One row per model call. Apart from labels so that access can be granted apart.",
    (
        Column("work_key", "STRING", "Identity of the model call", is_private=True),
        Column("finish_reason", "STRING", "Why generation ended: stop, length, abort, error, repetition"),
        Column("run_id", "STRING", "The run that made the call"),
        Column("labelled_at", "TIMESTAMP", "When the row was committed (UTC)"),
        Column("reasoning", "STRING", "What the model thought", is_private=True),
        Column("raw_output", "STRING", "The whole completion as text", is_private=True),
    ),
)

RUNS = Table(
    "runs",
    "One row per run.",
    (
        Column("run_id", "STRING", "Identity of the run"),
        Column("status", "STRING", "complete, partial, failed or died"),
        Column("started_at", "TIMESTAMP", "When it began (UTC)"),
        Column("ended_at", "TIMESTAMP", "When it ended (UTC); for a run that died, when that was found"),
        Column("source", "STRING", "Table or path of the content"),
        Column("source_version", "BIGINT", "Delta version of the source; null for Parquet"),
        Column("policies", "ARRAY<STRING>", "name@version of every policy"),
        Column("policy_hashes", "ARRAY<STRING>", "Their hashes, in the same order"),
        Column("labeler_hashes", "ARRAY<STRING>", "The labelers' hashes, in the same order"),
        Column("config_hash", "STRING", "SHA-256 of the resolved configuration"),
        Column("labels_version_in", "BIGINT", "Version of the labels table the run was planned on"),
        Column("labels_version_out", "BIGINT", "Version of the labels table after it"),
        Column("rows", "BIGINT", "Contents asked for: source rows x policies"),
        Column("pending", "BIGINT", "Of these, without a final label when the run began"),
        Column("calls", "BIGINT", "Model calls made"),
        Column("written", "BIGINT", "Rows appended to labels"),
        Column("outcomes", "MAP<STRING, BIGINT>", "Rows appended, by outcome"),
        Column("engine_starts", "INT", "Engines started"),
        Column("tokens", "MAP<STRING, BIGINT>", "prompt, cached and completion tokens"),
        Column("seconds", "MAP<STRING, DOUBLE>", "Wall seconds by phase"),
        Column("mlflow_run_id", "STRING", "The MLflow run"),
        Column("message", "STRING", "One sentence if something is left to do"),
        Column("plan_id", "STRING", "The re-labelling plan it applied; null for any other run"),
        Column("config", "STRING", "The resolved configuration as JSON"),
    ),
    (("status_known", "status IN ('complete', 'partial', 'failed', 'died')"),),
)

ACTIVATIONS = Table(
    "policy_activations",
    "One row each time a policy version begins to rule. The newest row of a policy is the active version.",
    (
        Column("policy", "STRING", "Policy name"),
        Column("policy_version", "STRING", "Version that rules from then on"),
        Column("policy_hash", "STRING", "Its hash"),
        Column("activated_at", "TIMESTAMP", "From when (UTC)"),
        Column("run_id", "STRING", "The run that activated it"),
        Column("reason", "STRING", "Why"),
        Column("forced", "BOOLEAN", "Whether a gate had refused it; null where nobody promoted it"),
        Column("gate", "STRING", "What the gate said, line by line, as JSON"),
    ),
)

PLANS = Table(
    "plans",
    "One row per plan to re-label under another version of a policy.",
    (
        Column("plan_id", "STRING", "Identity of the plan: p and the start of its hash"),
        Column("plan_hash", "STRING", "SHA-256 over what the plan selects and what it was made on"),
        Column("created_at", "TIMESTAMP", "When it was first made (UTC)"),
        Column("policy", "STRING", "Policy name"),
        Column("old_version", "STRING", "Version whose labels the scope reads"),
        Column("old_hash", "STRING", "Its policy hash; null if it has no labels"),
        Column("new_version", "STRING", "Version to label under"),
        Column("new_hash", "STRING", "Its policy hash"),
        Column("labeler_hash", "STRING", "The labeler the calls were counted for"),
        Column("scope_kind", "STRING", "all, touched, since, where or sample"),
        Column("scope", "STRING", "The scope as JSON: rules, dates, strata with their sizes, seed"),
        Column("source", "STRING", "Table or path of the content"),
        Column("source_version", "BIGINT", "Delta version of the source; null for Parquet"),
        Column("labels_version", "BIGINT", "Version of the labels table the scope reads"),
        Column("rows", "BIGINT", "Contents in scope"),
        Column("pending", "BIGINT", "Of these, without a final label under the new version"),
        Column("calls", "BIGINT", "Model calls, duplicates collapsed"),
        Column("prompt_tokens", "BIGINT", "Tokens of their prompts, before the prefix cache"),
        Column("estimate", "STRING", "Tokens, hours and money at the rates of past runs, as JSON; null without one"),
    ),
    (("scope_known", "scope_kind IN ('all', 'touched', 'since', 'where', 'sample')"),),
)

TABLES = (LABELS, REASONING, RUNS, ACTIVATIONS, PLANS)

# The newest label per content and policy under the active version of the policy. Spark and DuckDB read it alike.
# Of several labels of one instant the later attempt, then the later run, then the work key decides.
LABELS_CURRENT = """\
SELECT {columns} FROM (
  SELECT l.*, row_number() OVER (
    PARTITION BY l.policy, l.content_id
    ORDER BY l.labelled_at DESC, l.attempt DESC, l.run_id DESC, l.chunk DESC, l.work_key DESC
  ) AS newest
  FROM (SELECT * FROM {labels} WHERE salt IS NULL{labelled_by}) l
  JOIN (
    SELECT policy, policy_version, policy_hash, row_number() OVER (
      PARTITION BY policy ORDER BY activated_at DESC, run_id DESC
    ) AS latest
    FROM {activations}{activated_by}
  ) a ON a.latest = 1 AND a.policy = l.policy AND a.policy_version = l.policy_version
    AND a.policy_hash = l.policy_hash
) WHERE newest = 1"""


def labels_current(labels: str, activations: str) -> str:
    """The SELECT behind the view `labels_current`, over two table expressions."""
    columns = ", ".join(LABELS.names)
    return LABELS_CURRENT.format(
        columns=columns, labels=labels, activations=activations, labelled_by="", activated_by=""
    )


def labels_as_of(labels: str, activations: str, moment: str) -> str:
    """The SELECT of what `labels_current` was at a moment, a timestamp expression, less what was erased since."""
    return LABELS_CURRENT.format(
        columns=", ".join(LABELS.names),
        labels=labels,
        activations=activations,
        labelled_by=f" AND labelled_at <= {moment}",
        activated_by=f" WHERE activated_at <= {moment}",
    )
