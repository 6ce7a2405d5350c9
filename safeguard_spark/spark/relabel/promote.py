"""Promote: activate a version if its gate is met. One appended row switches every reader at once.

The row is appended first, then the registry's alias is moved. After a crash between the two, the same command completes
the promotion: a version that is already active gets no second row, and an alias already set is not moved.
"""

import json
import secrets
from datetime import UTC, datetime
from typing import Any, NamedTuple

from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from safeguard_spark import schema
from safeguard_spark.authoring.cases import cases_path, load_cases
from safeguard_spark.authoring.requirement import Requirement
from safeguard_spark.authoring.verify import Verification, verify_policy
from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import EngineError, GateError, PolicyError, TableError
from safeguard_spark.evaluation import gate
from safeguard_spark.evaluation.comparison.compare import Comparison
from safeguard_spark.evaluation.gate_lines import refuse_mistakes
from safeguard_spark.evaluation.sets import find_set
from safeguard_spark.evaluation.side import Side
from safeguard_spark.labelling.labeler import Labeler
from safeguard_spark.labelling.rows import LabelSpec
from safeguard_spark.labelling.verdict import Outcome
from safeguard_spark.policy.alias import Alias
from safeguard_spark.policy.document import Policy, parse_policy
from safeguard_spark.policy.ref import Ref, policy_file
from safeguard_spark.result import AGAIN
from safeguard_spark.spark.activations import (
    activate,
    active,
    active_labeler,
    is_active,
    labelers_of,
    name_labelers,
    was_active,
)
from safeguard_spark.spark.evaluation.evaluate import Request, evaluate_and_record, gates_of
from safeguard_spark.spark.labels import collection_of, of_collection, of_version
from safeguard_spark.spark.relabel.human_decisions import human_agreement
from safeguard_spark.spark.relabel.leaving import Covered, Leaving, contents_that_leave, is_readable
from safeguard_spark.spark.relabel.version_pairs import compare_verdicts
from safeguard_spark.spark.source import open_source
from safeguard_spark.spark.tables import Tables
from safeguard_spark.tracking.registry import Registry, resolve


class Promotion(NamedTuple):
    """The result of a promotion. `is_rollback`: version and labeler were active before, and passed the gate then."""

    policy: str
    version: str
    before: str | None
    changed: bool
    is_rollback: bool
    forced: bool
    calls: int
    lines: tuple[Requirement, ...]
    alias: str  # the state of the registry's alias, in words
    labeler: str
    labeler_before: str | None  # None: no version was active
    leaving: Leaving = Leaving()

    def __str__(self) -> str:
        ref = f"{self.policy}@{self.version}"
        if not self.changed:
            return f"{ref} is already active; {self.alias}."
        again = " again" if self.is_rollback else ""
        if self.labeler_before not in (None, self.labeler):
            replaced = f"{self.policy}@{self.before} with {self.labeler_before}"
            return f"{ref} is active{again} with labeler {self.labeler} (replaces {replaced}); {self.alias}."
        replaces = f" (replaces {self.before})" if self.before not in (None, self.version) else ""
        return f"{ref} is active{again}{replaces}; {self.alias}."

    def to_json(self) -> dict[str, Any]:
        """The object `--json` prints."""
        lines = [line.to_json() for line in self.lines]
        return {**self._asdict(), "lines": lines, "leaving": self.leaving.to_json()}


def promote_version(
    spark: SparkSession, config: RunConfig, policy: Policy, *, force: bool = False, reason: str = ""
) -> Promotion:
    """Activate a version with the configured labeler.

    Raises GateError if its gate is not met and `force` is not set; PolicyError, TableError.
    """
    tables = Tables.open(spark, config.output)
    tables.create()  # the columns of this release
    name_labelers(tables)
    spec = LabelSpec(policy, Labeler.of(config, policy))
    labeler = spec.labeler.ref
    current = active(tables, policy.name)
    before = None if current is None else str(current["policy_version"])
    labeler_before = None if current is None else active_labeler(current)
    labelers = (str(labeler), labeler_before and str(labeler_before))
    registry = _registry(config, policy)
    if is_active(current, spec):
        alias = _move_alias(registry, policy)
        return Promotion(policy.name, policy.version, before, False, False, False, 0, (), alias, *labelers)
    if not _judged(tables, spec).limit(1).count():
        others = ", ".join(map(str, labelers_of(tables, policy)))
        hint = f", or use the configuration of a labeler that has labels: {others}" if others else ""
        raise TableError(f"Nothing is labelled under {policy.ref} by {labeler} yet: plan and apply first{hint}.")
    is_rollback = was_active(tables, spec)
    leaving = contents_that_leave(tables, spec, current, collection_of(spark, config))
    lines, calls = ((), 0) if is_rollback else _gate_lines(spark, config, tables, spec, current, leaving)
    failed = gate.failed(lines)
    if failed and not force:
        failures = "; ".join(str(line) for line in failed)
        sentences = f"{policy.ref} is not promoted. {failures}.", leaving.sentence
        raise GateError(" ".join(filter(None, (*sentences, "To promote it anyway: --force --reason TEXT."))))
    forced = bool(failed)
    reason = reason or ("rolled back" if is_rollback else "promoted")
    run_id = f"promote-{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
    evaluated = json.dumps([line.to_json() for line in lines])
    activate(tables, policy, labeler, run_id, reason, forced=forced, gate=evaluated)
    alias = _move_alias(registry, policy)
    return Promotion(
        policy.name, policy.version, before, True, is_rollback, forced, calls, tuple(lines), alias, *labelers, leaving
    )


def _judged(tables: Tables, spec: LabelSpec) -> DataFrame:
    """The labels of a version and labeler, without those for which no call succeeded."""
    rows = of_version(tables.read(schema.LABELS), spec.policy, spec.labeler.labeler_hash)
    return rows.where(F.col("outcome") != Outcome.engine_failed.value)


def _gate_lines(
    spark: SparkSession, config: RunConfig, tables: Tables, spec: LabelSpec, current: Row | None, leaving: Leaving
) -> tuple[tuple[Requirement, ...], int]:
    required, policy = config.relabel.gate, spec.policy
    refuse_mistakes(required.sets, (), folder=config.sets)  # before any call
    verification = _verify_cases(config, policy) if required.cases else None
    lines = gate.cases_lines(verification) if required.cases else []
    comparison = (
        _compare_with_active(tables, config, policy, current) if required.max_unexplained_flips is not None else None
    )
    of_source = Covered() if required.min_coverage is None else _covered_of_source(spark, config, tables, spec)
    # Of other collections what is labelled is all that is known. One without them would be the first line again.
    of_all = of_source.plus(leaving.elsewhere).share if leaving.elsewhere.total else None
    needs_people = required.min_gold_precision is not None or required.min_gold_recall is not None
    agreement = human_agreement(spark, config, tables, policy, spec.labeler.labeler_hash) if needs_people else None
    precision, recall = (agreement.precision, agreement.recall) if agreement else (None, None)
    lines += gate.table_lines(required, of_source.share, comparison, precision, recall, coverage_of_all=of_all)
    set_lines, calls = _set_lines(spark, config, policy)
    return (*lines, *set_lines), calls + (len(verification.results) if verification else 0)


def _set_lines(spark: SparkSession, config: RunConfig, policy: Policy) -> tuple[list[Requirement], int]:
    """What golden sets must show, and the calls that were made to know. Labels that are there are not made again."""
    names = dict.fromkeys(line.set for line in gates_of(config, [policy]))
    sets = tuple(find_set(name, config.sets) for name in names)
    if not sets:
        return [], 0
    evaluation = evaluate_and_record(spark, config, Request(sets, (Side(config, (policy,)),)), show=False)
    if evaluation.message:
        raise EngineError(f"{evaluation.message} The gate cannot be decided yet: {AGAIN}.")
    return [line.requirement for line in evaluation.gate], evaluation.calls


def _verify_cases(config: RunConfig, policy: Policy) -> Verification | None:
    """The policy's cases through the engine, on the driver; None if it has none."""
    from safeguard_spark.engines.factory import open_engine

    file = cases_path(policy_file(config.policies, policy.name, policy.version))
    cases = load_cases(file) if file.is_file() else ()
    if not cases:
        return None
    window = config.engine.requests_in_flight
    with open_engine(config.engine, run_id=f"gate-{secrets.token_hex(4)}", window=window, devices=[]) as engine:
        return verify_policy(policy, cases, Labeler.of(config, policy), engine)


def _compare_with_active(tables: Tables, config: RunConfig, policy: Policy, current: Row | None) -> Comparison | None:
    if current is None:
        return None
    try:
        old = resolve(f"{policy.name}@{current['policy_version']}", config)
        return compare_verdicts(tables, config, old, policy)
    except TableError:
        return None


def _covered_of_source(spark: SparkSession, config: RunConfig, tables: Tables, spec: LabelSpec) -> Covered:
    """The source's contents, and those with a label that could be read, under the version by the labeler."""
    source = open_source(spark, config.source)
    ids = source.frame.select("content_id", "content_hash").distinct().cache()
    try:
        judged = of_collection(_judged(tables, spec), config.source.collection(source.name))
        labelled = judged.where(is_readable()).select("content_id", "content_hash")
        covered = ids.join(labelled, on=["content_id", "content_hash"], how="left_semi")
        return Covered(covered.count(), ids.count())
    finally:
        ids.unpersist()


def _registry(config: RunConfig, policy: Policy) -> Registry | None:
    """The registry, if the policy is published there. Raises PolicyError if only other versions of it are."""
    registry = Registry.of(config)
    if not registry.exists:
        return None
    entry = registry.entry(Ref(policy.name, policy.version))
    if entry is not None:
        published = parse_policy(entry.document)
        if published.policy_hash != policy.policy_hash:
            raise PolicyError(
                f"{policy.ref} is in {registry.display_name} with a different text. Publish a new version."
            )
        return registry
    if registry.entries(policy.name):
        raise PolicyError(f"{policy.ref} is not in {registry.display_name}, but other versions are. Publish it first.")
    return None


def _move_alias(registry: Registry | None, policy: Policy) -> str:
    if registry is None:
        return "not in MLflow's registry, so there is no alias to move"
    was_moved = registry.set_alias(policy.name, Alias.active.value, policy.version)
    return f"alias active is {policy.version}" + ("" if was_moved else " already")
