"""Activations: which version of a policy is active, and with which labeler. The newest row of a policy decides.

`relabel promote` activates. The label job does so only for a policy that has no active version yet, and for a draft of
the active version whose text was changed.
"""

import secrets
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from pyspark.sql import Row
from pyspark.sql import functions as F

from safeguard_spark import schema, views
from safeguard_spark.errors import ConfigError
from safeguard_spark.labelling.labeler import LabelerRef
from safeguard_spark.labelling.rows import LabelSpec
from safeguard_spark.policy.document import Policy
from safeguard_spark.relabel.plan import PolicyVersion
from safeguard_spark.spark.labels import of_version
from safeguard_spark.spark.small_tables import all_rows
from safeguard_spark.spark.tables import Tables


def active(tables: Tables, policy: str) -> Row | None:
    """The newest row of `policy_activations` for a policy, or None if no version was ever active."""
    return next(iter(_newest_first(tables, policy)), None)


def _newest_first(tables: Tables, policy: str) -> list[Row]:
    rows = [row for row in all_rows(tables, schema.ACTIVATIONS) if row["policy"] == policy]
    return sorted(rows, key=lambda row: [row[name] for name in views.NEWEST_ACTIVATION], reverse=True)


def _has_text(row: Row, policy: Policy) -> bool:
    return bool((row["policy_version"], row["policy_hash"]) == (policy.version, policy.policy_hash))


def is_active(row: Row | None, spec: LabelSpec) -> bool:
    """Whether an activation is one of exactly this policy text under this version, with this labeler or with any."""
    return row is not None and _has_text(row, spec.policy) and row["labeler_hash"] in (None, spec.labeler.labeler_hash)


def active_labeler(row: Row) -> LabelerRef | None:
    """The labeler of an activation; None, as in tables of earlier releases, if any labeler's labels count."""
    return None if row["labeler_hash"] is None else LabelerRef(row["labeler"], row["labeler_hash"])


def was_active(tables: Tables, spec: LabelSpec) -> bool:
    """Whether exactly this policy text was ever active under this version with this labeler.

    If no activation of the text names a labeler, as in tables of earlier releases, then with any.
    """
    rows = [row for row in _newest_first(tables, spec.policy.name) if _has_text(row, spec.policy)]
    hashes = {row["labeler_hash"] for row in rows}
    return spec.labeler.labeler_hash in hashes or hashes == {None}


def activate(
    tables: Tables,
    policy: Policy | PolicyVersion,
    labeler: LabelerRef,
    run_id: str,
    reason: str,
    *,
    forced: bool | None = None,
    gate: str | None = None,
) -> None:
    """Append an activation. `gate` is its result as JSON, `forced` whether it was promoted against it."""
    activated_at, newest = tables.now(), active(tables, policy.name)
    if newest is not None:
        # Later than the last activation even if the clock goes back: the older version must not become active. Spark
        # returns times without a zone, in the time zone of this process.
        activated_at = max(activated_at, newest["activated_at"].astimezone(UTC) + timedelta(microseconds=1))
    row = {
        "policy": policy.name,
        "policy_version": policy.version,
        "policy_hash": policy.policy_hash,
        "labeler": labeler.name,
        "labeler_hash": labeler.hash,
        "activated_at": activated_at,
        "run_id": run_id,
        "reason": reason,
        "forced": forced,
        "gate": gate,
    }
    tables.append(schema.ACTIVATIONS, [row], f"{run_id}/{policy.name}/active")


def activate_if_first(tables: Tables, spec: LabelSpec, run_id: str) -> None:
    """Activate a policy's first labelled version, with its labeler. Anything later needs a promotion.

    Only a draft may change its own text, with the same labeler. Labels with a salt never count.
    """
    if spec.labeler.salt is not None:
        return
    newest, policy = active(tables, spec.policy.name), spec.policy
    if newest is None:
        activate(tables, policy, spec.labeler.ref, run_id, "first labelled")
        return
    is_changed_draft = newest["policy_version"] == policy.version and newest["policy_hash"] != policy.policy_hash
    if is_changed_draft and newest["labeler_hash"] in (None, spec.labeler.labeler_hash):
        activate(tables, policy, spec.labeler.ref, run_id, "text changed under the same version")


def name_labelers(tables: Tables) -> None:
    """Activate again, with the labeler of its newest label, each active version whose activation names no labeler.

    Earlier releases activated a version with any labeler, so that a test with another one changed what readers saw.
    """
    unnamed = {row["policy"] for row in all_rows(tables, schema.ACTIVATIONS) if row["labeler_hash"] is None}
    for policy in sorted(unnamed):
        row = active(tables, policy)
        if row is None or row["labeler_hash"] is not None:
            continue
        version = PolicyVersion(row["policy"], row["policy_version"], row["policy_hash"])
        if existing := labelers_of(tables, version):
            run_id = f"upgrade-{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
            activate(tables, version, existing[0], run_id, "labeler of its newest label")


def labelers_of(tables: Tables, policy: Policy | PolicyVersion) -> list[LabelerRef]:
    """The labelers that labelled under a version, the one of the newest label first."""
    labels = of_version(tables.read(schema.LABELS), policy).where("screened_for IS NULL")
    newest = F.max(F.struct(F.col("carried_from").isNull(), *views.NEWEST)).alias("newest")
    rows = labels.groupBy("labeler_hash").agg(newest, F.max("labeler").alias("labeler")).collect()
    return [LabelerRef(row["labeler"], row["labeler_hash"]) for row in sorted(rows, key=_newest, reverse=True)]


def _newest(row: Row) -> Row:
    newest: Row = row["newest"]
    return newest


def labeler_of(
    tables: Tables, policy: Policy, configured: LabelerRef, requested: str | None = None
) -> LabelerRef | None:
    """The labeler whose labels stand for a version: the requested one, a name or the start of a hash.

    By default the one that the version was last active with, else the configured one, else the one of the newest label.
    None if the version has no labels. Raises ConfigError unless exactly one labeler is the requested one.
    """
    existing = labelers_of(tables, policy)
    if requested is not None:
        matches = [labeler for labeler in existing if labeler.name == requested or labeler.hash.startswith(requested)]
        if len(matches) == 1:
            return matches[0]
        problem = "are several labelers" if matches else "is no labeler"
        listed = ", ".join(map(str, existing)) or "none"
        raise ConfigError(f"--labeler {requested}: {problem} of {policy.ref}. Name one by its hash: {listed}.")
    activation = next((row for row in _newest_first(tables, policy.name) if _has_text(row, policy)), None)
    preferred = configured.hash if activation is None else activation["labeler_hash"]
    return next((labeler for labeler in existing if labeler.hash == preferred), next(iter(existing), None))


def inactive_message(tables: Tables, specs: Iterable[LabelSpec]) -> str | None:
    """One sentence for each policy whose labels no reader of `labels_current` sees, and what to do; else None."""
    sentences = []
    for spec in specs:
        row, ref = active(tables, spec.policy.name), spec.policy.ref
        if row is None:
            continue
        if row["policy_version"] != spec.policy.version:
            sentences.append(
                f"{ref} is not active, {row['policy_version']} is: labels_current does not show these labels until you "
                f"activate the version (safeguard relabel promote {ref})."
            )
        elif row["labeler_hash"] not in (None, spec.labeler.labeler_hash):
            sentences.append(
                f"{ref} is active with labeler {active_labeler(row)}, not with {spec.labeler.ref}: labels_current does "
                f"not show these labels until you activate the labeler (safeguard relabel promote {ref}, with the same "
                "configuration)."
            )
    return " ".join(sentences) or None
