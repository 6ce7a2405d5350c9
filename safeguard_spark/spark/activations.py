"""Activations: which version of a policy is active. The newest row of `policy_activations` decides.

`relabel promote` activates. The label job does so only for a policy that has no active version yet, and for a draft of
the active version whose text was changed.
"""

from collections.abc import Iterable
from datetime import UTC

from pyspark.sql import Row
from pyspark.sql import functions as F

from safeguard_spark import schema
from safeguard_spark.policy.document import Policy
from safeguard_spark.spark.tables import Tables


def active(tables: Tables, policy: str) -> Row | None:
    """The newest row of `policy_activations` for a policy, or None if no version was ever active."""
    rows = tables.read(schema.ACTIVATIONS).where(F.col("policy") == policy)
    return rows.orderBy(*(F.desc(name) for name in schema.NEWEST_ACTIVATION)).first()


def is_active(row: Row | None, policy: Policy) -> bool:
    """Whether an activation is one of exactly this policy text under this version."""
    return row is not None and (row["policy_version"], row["policy_hash"]) == (policy.version, policy.policy_hash)


def was_active(tables: Tables, policy: Policy) -> bool:
    """Whether exactly this policy text was ever active under this version."""
    rows = tables.read(schema.ACTIVATIONS).where(F.col("policy") == policy.name).collect()
    return any(is_active(row, policy) for row in rows)


def activate(
    tables: Tables, policy: Policy, run_id: str, reason: str, *, forced: bool | None = None, gate: str | None = None
) -> None:
    """Append an activation. `gate` is its result as JSON, `forced` whether it was promoted against it."""
    newest = active(tables, policy.name)
    # Later than the last activation: the older version must not become active. Spark returns times without a zone, in
    # the time zone of this process.
    activated_at = tables.now(after=newest["activated_at"].astimezone(UTC) if newest else None)
    row = {
        "policy": policy.name,
        "policy_version": policy.version,
        "policy_hash": policy.policy_hash,
        "labeler": None,
        "labeler_hash": None,
        "activated_at": activated_at,
        "run_id": run_id,
        "reason": reason,
        "forced": forced,
        "gate": gate,
    }
    tables.append(schema.ACTIVATIONS, [row], f"{run_id}/{policy.name}/active")


def activate_if_first(tables: Tables, policy: Policy, run_id: str) -> None:
    """Activate a policy's first labelled version. Later versions need a promotion; a draft may change its own text."""
    newest = active(tables, policy.name)
    if newest is None:
        activate(tables, policy, run_id, "first labelled")
    elif newest["policy_version"] == policy.version and newest["policy_hash"] != policy.policy_hash:
        activate(tables, policy, run_id, "text changed under the same version")


def inactive_message(tables: Tables, policies: Iterable[Policy]) -> str | None:
    """One sentence for each policy whose labels no reader of `labels_current` sees, and what to do; else None."""
    sentences = []
    for policy in policies:
        row = active(tables, policy.name)
        if row is not None and row["policy_version"] != policy.version:  # the run activates a draft's changed text
            sentences.append(
                f"{policy.ref} is not active, {row['policy_version']} is: labels_current does not show these labels "
                f"until you activate the version (safeguard relabel promote {policy.ref})."
            )
    return " ".join(sentences) or None
