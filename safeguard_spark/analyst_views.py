"""Analyst views: what people ask of the label tables, as SQL that Spark and DuckDB answer alike."""

from collections.abc import Mapping
from typing import NamedTuple

from safeguard_spark.schema import REVIEW_ITEMS


class Dialect(NamedTuple):
    """The words in which the two differ. `{}` stands for an expression; days are those of UTC."""

    day: str
    microseconds: str
    rows_of: str  # one row for each element of an array; none for an empty one
    length: str


SPARK = Dialect("to_date(to_utc_timestamp({}, current_timezone()))", "unix_micros({})", "explode({})", "size({})")
DUCKDB = Dialect("CAST(timezone('UTC', {}) AS DATE)", "epoch_us({})", "unnest({})", "len({})")

# What a review item says of itself, without what quotes the content.
ITEM = tuple(
    column.name
    for column in REVIEW_ITEMS.columns
    if column.name not in ("content", "rationale", "appeal_reason", "known_violation", "known_rule_ids")
)
LABELLED = "collection, policy, policy_version, labeler"


def analyst_views(tables: Mapping[str, str], dialect: Dialect) -> dict[str, str]:
    """The SELECT behind each view, by its name.

    `tables` are table expressions: names, or queries in brackets. It has labels, labels_current, review_items,
    decisions, runs and policy_activations; and reviewed_items where that view is there already.
    """
    reviewed = reviewed_items(tables["review_items"], tables["decisions"])
    if "reviewed_items" in tables:
        reviewed = f"SELECT * FROM {tables['reviewed_items']}"
    return {
        "reviewed_items": reviewed,
        "review_samples": _samples(reviewed),
        "review_queues": _queues(reviewed, dialect),
        "overturns": _overturns(reviewed, dialect),
        "daily_rates": _daily_rates(tables["labels_current"], dialect),
        "daily_rules": _daily_rules(tables["labels_current"], dialect),
        "daily_cost": _daily_cost(tables["runs"], dialect),
        "coverage": _coverage(tables["labels"], tables["labels_current"]),
        "active_versions": _active_versions(tables["policy_activations"]),
    }


def reviewed_items(review_items: str, decisions: str) -> str:
    """Items with what people made of them, as `review.decisions.resolve` does.

    That is the adjudication, else the first person's last decision. Two people who differ, without an adjudication,
    have decided nothing. Calibration items are left out.
    """
    disputed = "d.stage <> 'adjudication' AND s.item_id IS NOT NULL AND s.violation IS DISTINCT FROM d.violation"
    return f"""\
SELECT {", ".join(f"i.{name}" for name in ITEM)}, d.answer,
  CASE WHEN NOT coalesce({disputed}, false) THEN d.violation END AS decided_violation,
  d.rule_ids AS decided_rule_ids, d.stage AS decided_stage, d.decided_at,
  coalesce({disputed}, false) AS is_disputed, b.violation AS blind_violation
FROM (SELECT * FROM {review_items} WHERE purpose <> 'calibration') i
LEFT JOIN ({_last_decision(decisions, "'first', 'adjudication'")}) d ON d.item_id = i.item_id AND d.newest = 1
LEFT JOIN ({_last_decision(decisions, "'second'")}) s ON s.item_id = i.item_id AND s.newest = 1
LEFT JOIN ({_last_decision(decisions, "'first'", "AND is_blind")}) b ON b.item_id = i.item_id AND b.newest = 1"""


def _count(condition: str) -> str:
    """How many rows meet a condition: of rows that are all null, count_if is 0 in Spark and null in DuckDB."""
    return f"count(CASE WHEN {condition} THEN 1 END)"


def _last_decision(decisions: str, stages: str, condition: str = "") -> str:
    """The decisions of some stages that were not taken back; `newest` is 1 for the last, an adjudication if any."""
    return f"""
  SELECT item_id, stage, answer, violation, rule_ids, decided_at, row_number() OVER (
    PARTITION BY item_id
    ORDER BY CASE WHEN stage = 'adjudication' THEN 1 ELSE 0 END DESC, decided_at DESC, decision_id DESC
  ) AS newest
  FROM {decisions} d WHERE stage IN ({stages}) AND answer <> 'withdrawn' {condition}
  AND NOT EXISTS (SELECT 1 FROM {decisions} w WHERE w.withdraws = d.decision_id)"""


def _samples(reviewed: str) -> str:
    """Estimating samples, by stratum: how far they are decided, and how. Queues that find errors are not in it.

    `…_not_judged`: of these, the items whose label has no verdict.
    """
    return f"""\
SELECT sample_id, {LABELLED}, draw, stratum, stratum_size, min(drawn_at) AS drawn_at, count(*) AS items,
  count(answer) AS decided, {_count("decided_violation")} AS violations, {_count("NOT decided_violation")} AS safe,
  {_count("answer IS NOT NULL AND decided_violation IS NULL")} AS undecided,
  {_count("blind_violation <> decided_violation")} AS changed,
  {_count("violation IS NULL AND decided_violation")} AS violations_not_judged,
  {_count("violation IS NULL AND NOT decided_violation")} AS safe_not_judged,
  {_count("violation IS NULL AND answer IS NOT NULL AND decided_violation IS NULL")} AS undecided_not_judged
FROM ({reviewed}) GROUP BY sample_id, {LABELLED}, draw, stratum, stratum_size, purpose HAVING purpose = 'estimate'"""


def _queues(reviewed: str, dialect: Dialect) -> str:
    """By policy version and purpose: what is decided, what waits and since when, hours to a decision."""
    begun = "coalesce(appealed_at, drawn_at)"
    hours = f"({dialect.microseconds.format('decided_at')} - {dialect.microseconds.format(begun)}) / 3.6e9"
    return f"""\
SELECT policy, policy_version, purpose, count(*) AS items, count(answer) AS decided,
  count(*) - count(answer) AS waiting, min(CASE WHEN answer IS NULL THEN {begun} END) AS waiting_since,
  median({hours}) AS median_hours, {_count("is_disputed")} AS disputed,
  {_count("decided_violation <> violation")} AS overturned
FROM ({reviewed}) GROUP BY policy, policy_version, purpose"""


def _overturns(reviewed: str, dialect: Dialect) -> str:
    """By policy version, label and its rule: decided items, and those where people say the opposite.

    Only rows with `is_sample` are random: a share of the others says nothing about the table.
    """
    columns = "policy, policy_version, labeler, violation"
    decided = f"SELECT *, purpose = 'estimate' AS is_sample FROM ({reviewed}) WHERE decided_violation IS NOT NULL"
    with_rules = f"violation AND {dialect.length.format('rule_ids')} > 0"
    return f"""\
SELECT {columns}, rule, is_sample, count(*) AS decided, {_count("decided_violation <> violation")} AS overturned
FROM (
  SELECT {columns}, {dialect.rows_of.format("rule_ids")} AS rule, is_sample, decided_violation
  FROM ({decided}) WHERE {with_rules}
  UNION ALL
  SELECT {columns}, CAST(NULL AS STRING) AS rule, is_sample, decided_violation
  FROM ({decided}) WHERE violation IS NOT NULL AND NOT coalesce({with_rules}, false)
) GROUP BY {columns}, rule, is_sample"""


def _daily_rates(labels_current: str, dialect: Dialect) -> str:
    """Labels in use, by the day on which they were committed. The share is of what was judged; null if nothing was."""
    flagged, judged = _count("violation"), "count(violation)"
    return f"""\
SELECT {dialect.day.format("labelled_at")} AS day, {LABELLED}, count(*) AS contents, {flagged} AS flagged,
  {_count("outcome = 'screened'")} AS screened, {_count("outcome = 'review'")} AS escalated,
  {_count("violation IS NULL")} AS not_judged, {judged} AS judged, {flagged} / nullif({judged}, 0) AS flagged_share
FROM {labels_current} GROUP BY {dialect.day.format("labelled_at")}, {LABELLED}"""


def _daily_rules(labels_current: str, dialect: Dialect) -> str:
    """Violations in use, by day and rule; a violation of two rules counts for both."""
    return f"""\
SELECT day, {LABELLED}, rule, count(*) AS flagged FROM (
  SELECT {dialect.day.format("labelled_at")} AS day, {LABELLED}, {dialect.rows_of.format("rule_ids")} AS rule
  FROM {labels_current} WHERE violation
) GROUP BY day, {LABELLED}, rule"""


def _daily_cost(runs: str, dialect: Dialect) -> str:
    """What runs used, by the day on which they started. Engine-hours are those of `relabel plan`."""
    tokens = ", ".join(f"sum(tokens['{name}']) AS {name}_tokens" for name in ("prompt", "cached", "completion"))
    return f"""\
SELECT {dialect.day.format("started_at")} AS day, count(*) AS runs, sum(calls) AS calls, sum(written) AS labels,
  {tokens},
  sum(CASE WHEN calls > 0 THEN seconds['label'] * greatest(coalesce(engine_starts, 1), 1) / 3600 END) AS engine_hours
FROM {runs} GROUP BY {dialect.day.format("started_at")}"""


def _coverage(labels: str, labels_current: str) -> str:
    """By collection and policy: contents that ever had a label, those with one in use, and those judged by it."""
    return f"""\
SELECT k.collection, k.policy, c.policy_version, k.contents, coalesce(c.labelled, 0) AS labelled,
  coalesce(c.judged, 0) AS judged
FROM (
  SELECT collection, policy, count(DISTINCT content_id) AS contents FROM {labels} WHERE salt IS NULL
  GROUP BY collection, policy
) k LEFT JOIN (
  SELECT collection, policy, policy_version, count(*) AS labelled, count(violation) AS judged FROM {labels_current}
  GROUP BY collection, policy, policy_version
) c ON c.collection = k.collection AND c.policy = k.policy"""


def _active_versions(activations: str) -> str:
    """Which version of each policy was active, from when until when (null: still)."""
    return f"""\
SELECT policy, policy_version, labeler, activated_at AS active_from,
  lead(activated_at) OVER (PARTITION BY policy ORDER BY activated_at, run_id) AS active_until, reason, forced
FROM {activations}"""
