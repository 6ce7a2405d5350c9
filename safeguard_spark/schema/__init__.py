"""The tables other programs read. Adding a column is fine, renaming one is not."""

from safeguard_spark.schema.evaluations import EVALUATIONS
from safeguard_spark.schema.labels import LABELS, REASONING, RUNS
from safeguard_spark.schema.policies import ACTIVATIONS, PLANS, POLICIES, POLICY_RULES
from safeguard_spark.schema.review import ANSWERS, DECISIONS, GOLD, PURPOSES, REVIEW_ITEMS, STAGES
from safeguard_spark.schema.screens import SCREEN_AUDITS, SCREENS
from safeguard_spark.schema.table import Column, Table

TABLES = (
    LABELS, REASONING, RUNS, POLICIES, POLICY_RULES, ACTIVATIONS, PLANS, REVIEW_ITEMS, DECISIONS, GOLD, EVALUATIONS,
    SCREENS, SCREEN_AUDITS,
)  # fmt: skip

__all__ = [
    "ACTIVATIONS",
    "ANSWERS",
    "DECISIONS",
    "EVALUATIONS",
    "GOLD",
    "LABELS",
    "PLANS",
    "POLICIES",
    "POLICY_RULES",
    "PURPOSES",
    "REASONING",
    "REVIEW_ITEMS",
    "RUNS",
    "SCREENS",
    "SCREEN_AUDITS",
    "STAGES",
    "TABLES",
    "Column",
    "Table",
]
