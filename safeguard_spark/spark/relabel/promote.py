"""Promote: let a version rule, if its gate is met. One appended row switches every reader at once.

The row comes first, then the registry's alias. Whoever dies between the two issues the same command again: a version
that rules already gets no second row, and an alias that stands already is left alone.
"""

import json
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from safeguard_spark import schema
from safeguard_spark.authoring.cases import cases_path, load_cases
from safeguard_spark.authoring.requirement import Requirement
from safeguard_spark.authoring.verify import Verification, verify_policy
from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import GateError, PolicyError, TableError
from safeguard_spark.evaluation import gate
from safeguard_spark.evaluation.comparison.compare import Comparison
from safeguard_spark.labelling.labeler import Labeler
from safeguard_spark.policy.alias import Alias
from safeguard_spark.policy.document import Policy, parse_policy
from safeguard_spark.policy.ref import Ref, policy_file
from safeguard_spark.spark.activations import newest_activation
from safeguard_spark.spark.relabel.human_decisions import human_agreement
from safeguard_spark.spark.relabel.version_pairs import compare_versions
from safeguard_spark.spark.source import open_source
from safeguard_spark.spark.tables import Tables
from safeguard_spark.tracking.registry import Registry, resolve


class Promotion(NamedTuple):
    """What a promotion did. `is_rollback`: the version ruled before, and went through its gate then."""

    policy: str
    version: str
    before: str | None
    changed: bool
    is_rollback: bool
    forced: bool
    calls: int
    lines: tuple[Requirement, ...]
    alias: str  # what became of the registry's alias, in words

    def to_json(self) -> dict[str, Any]:
        """The object `--json` prints."""
        return {**self._asdict(), "lines": [line.to_json() for line in self.lines]}


def promote_version(
    spark: SparkSession, config: RunConfig, policy: Policy, *, force: bool = False, reason: str = ""
) -> Promotion:
    """Let a version rule. Raises GateError if its gate refuses and nobody forces it; PolicyError, TableError."""
    tables = Tables.open_existing(spark, config)
    now = newest_activation(tables, policy.name)
    is_active = now is not None and (now["policy_version"], now["policy_hash"]) == (policy.version, policy.policy_hash)
    before = None if now is None else str(now["policy_version"])
    registry = _registry(config, policy)
    if is_active:
        return Promotion(policy.name, policy.version, before, False, False, False, 0, (), _move(registry, policy))
    if not _mine(tables, policy).limit(1).count():
        raise TableError(f"Nothing is labelled under {policy.ref} yet: plan and apply first.")
    back = _ruled_before(tables, policy)
    lines, calls = ((), 0) if back else _gate(spark, config, tables, policy, now)
    refused = gate.failed(lines)
    if refused and not force:
        said = "; ".join(str(line) for line in refused)
        raise GateError(f"{policy.ref} is not promoted. {said}. To promote it anyway: --force --reason TEXT.")
    forced = bool(refused)
    why = reason or ("rolled back" if back else "promoted")
    _activate(tables, policy, now, why, forced, lines)
    return Promotion(
        policy.name, policy.version, before, True, back, forced, calls, tuple(lines), _move(registry, policy)
    )


def _mine(tables: Tables, policy: Policy) -> Any:
    return tables.read(schema.LABELS).where(
        (F.col("policy") == policy.name)
        & (F.col("policy_version") == policy.version)
        & (F.col("policy_hash") == policy.policy_hash)
        & F.col("salt").isNull()
    )


def _ruled_before(tables: Tables, policy: Policy) -> bool:
    rows = tables.read(schema.ACTIVATIONS).where(
        (F.col("policy") == policy.name)
        & (F.col("policy_version") == policy.version)
        & (F.col("policy_hash") == policy.policy_hash)
    )
    return rows.limit(1).count() > 0


def _gate(
    spark: SparkSession, config: RunConfig, tables: Tables, policy: Policy, now: dict[str, Any] | None
) -> tuple[tuple[Requirement, ...], int]:
    asked = config.relabel.gate
    verification = _cases(config, policy) if asked.cases else None
    lines = gate.cases_lines(verification) if asked.cases else []
    compared = _compared(spark, config, policy, now) if asked.max_unexplained_flips is not None else None
    covered = _coverage(spark, config, tables, policy) if asked.min_coverage is not None else None
    agreement = human_agreement(spark, config, tables, policy)
    precision = agreement.precision.value if agreement and agreement.precision else None
    recall = agreement.recall.value if agreement and agreement.recall else None
    lines += gate.table_lines(asked, covered, compared, precision, recall)
    return tuple(lines), len(verification.results) if verification else 0


def _cases(config: RunConfig, policy: Policy) -> Verification | None:
    """The policy's cases through the engine, on the driver; None if it has none."""
    from safeguard_spark.engines.factory import open_engine

    file = cases_path(policy_file(config.policies, policy.name, policy.version))
    cases = load_cases(file) if file.is_file() else ()
    if not cases:
        return None
    window = config.engine.requests_in_flight
    with open_engine(config.engine, run_id=f"gate-{secrets.token_hex(4)}", window=window, devices=[]) as engine:
        return verify_policy(policy, cases, Labeler.of(config, policy), engine)


def _compared(spark: SparkSession, config: RunConfig, policy: Policy, now: dict[str, Any] | None) -> Comparison | None:
    if now is None:
        return None
    try:
        ruling = resolve(f"{policy.name}@{now['policy_version']}", config)
        return compare_versions(spark, config, ruling, policy).comparison
    except TableError:
        return None


def _coverage(spark: SparkSession, config: RunConfig, tables: Tables, policy: Policy) -> float | None:
    """The share of the source's contents that have a label under the version."""
    ids = open_source(spark, config.source).frame.select("content_id", "content_hash").distinct().cache()
    try:
        labelled = _mine(tables, policy).select("content_id", "content_hash")
        total = ids.count()
        return ids.join(labelled, on=["content_id", "content_hash"], how="left_semi").count() / total if total else None
    finally:
        ids.unpersist()


def _activate(
    tables: Tables, policy: Policy, now: dict[str, Any] | None, why: str, forced: bool, lines: tuple[Requirement, ...]
) -> None:
    at = tables.now()
    if now is not None:
        # After the one that rules, whatever the clocks say. Spark gives times in this process's own zone.
        at = max(at, now["activated_at"].astimezone(UTC) + timedelta(microseconds=1))
    run_id = f"promote-{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
    row = {
        "policy": policy.name,
        "policy_version": policy.version,
        "policy_hash": policy.policy_hash,
        "activated_at": at,
        "run_id": run_id,
        "reason": why,
        "forced": forced,
        "gate": json.dumps([line.to_json() for line in lines]),
    }
    tables.append(schema.ACTIVATIONS, [row], run_id)


def _registry(config: RunConfig, policy: Policy) -> Registry | None:
    """The registry, if the policy is published there. Raises PolicyError if only other versions of it are."""
    registry = Registry.of(config)
    if not registry.exists:
        return None
    entry = registry.entry(Ref(policy.name, policy.version))
    if entry is not None:
        published = parse_policy(entry.document)
        if published.policy_hash != policy.policy_hash:
            raise PolicyError(f"{policy.ref} is in {registry.display_name} with another text. Publish another version.")
        return registry
    if registry.entries(policy.name):
        raise PolicyError(f"{policy.ref} is not in {registry.display_name}, and other versions are. Publish it first.")
    return None


def _move(registry: Registry | None, policy: Policy) -> str:
    if registry is None:
        return "not published, so there is no alias to move"
    moved = registry.set_alias(policy.name, Alias.active.value, policy.version)
    return f"alias active is {policy.version}" + ("" if moved else " already")
