"""Evaluate: label golden sets by the ordinary label path, or read recorded answers, and measure them."""

import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import NamedTuple

from pyspark.sql import DataFrame, SparkSession

from safeguard_spark import schema
from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import PolicyError
from safeguard_spark.evaluation.checks import Check
from safeguard_spark.evaluation.cohort import Cohort
from safeguard_spark.evaluation.differences import disagreement, exact_match_differences, paired_differences
from safeguard_spark.evaluation.gate_lines import not_decided, refuse_mistakes
from safeguard_spark.evaluation.measures import exact_match, measure
from safeguard_spark.evaluation.names import name_metrics
from safeguard_spark.evaluation.result import Evaluated, Evaluation, SetResult, SideResult
from safeguard_spark.evaluation.run import log_evaluation
from safeguard_spark.evaluation.set_gate import SetCounts, decide
from safeguard_spark.evaluation.sets import GoldenSet
from safeguard_spark.evaluation.side import Side
from safeguard_spark.labelling.labeler import Labeler
from safeguard_spark.labelling.rows import LabelSpec
from safeguard_spark.policy.document import ALL, Policy, SetGate
from safeguard_spark.relabel.estimate import estimate_cost
from safeguard_spark.relabel.rules import RuleChanges, rule_changes
from safeguard_spark.spark.evaluation import counts
from safeguard_spark.spark.evaluation.checks import run_check
from safeguard_spark.spark.evaluation.gold import Gold, open_gold
from safeguard_spark.spark.evaluation.store import append_evaluation, past_sides
from safeguard_spark.spark.evaluation.verdicts import (
    labelled_verdicts,
    open_replay,
    recording_digest,
    replayed_verdicts,
    tokens_of,
)
from safeguard_spark.spark.label.job import label_table
from safeguard_spark.spark.label.pending import labels_of
from safeguard_spark.spark.label.run import Selection
from safeguard_spark.spark.label.run_rows import past_runs
from safeguard_spark.spark.screens import all_screens
from safeguard_spark.spark.tables import Tables
from safeguard_spark.tracking.registry import resolve

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """What to evaluate. `sides`: the first is evaluated, the others are compared with it on the same contents.

    `slices`: columns in addition to those of the manifests. `repeat`: how often the first side labels each content, to
    see how often it disagrees with itself. `replay`: where recorded answers are, in place of a model. `past`: ids of
    earlier evaluations to stand in the same figures. `checks`: of how the first side follows its policies.
    """

    sets: tuple[GoldenSet, ...]
    sides: tuple[Side, ...]
    slices: tuple[str, ...] = ()
    repeat: int = 1
    replay: str | None = None
    past: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()


class _UnfinishedError(Exception):
    """A label run that is to be issued again."""


def evaluate(spark: SparkSession, config: RunConfig, request: Request, *, show: bool = True) -> Evaluation:
    """Evaluate policies on golden sets. Raises SafeguardError if nothing could be done.

    The labels are those of the ordinary label job, so what has one is not called again.
    """
    _refuse_unused(request)
    manifests, configured = [golden_set.manifest for golden_set in request.sets], config.relabel.gate.sets
    gates, own = _gates(config, request), gates_of(config, request.sides[0].policies)
    refuse_mistakes(gates, manifests, request.slices)
    refuse_mistakes(configured, manifests, request.slices, config.sets)
    evaluated_at = datetime.now(UTC)
    run = _Run(spark, config, request, show)
    results: list[SetResult] = []
    sets: dict[str, SetCounts] = {}
    message = None
    try:
        for golden_set in request.sets:
            result, sets[golden_set.manifest.ref] = run.measure(golden_set)
            results.append(result)
    except _UnfinishedError as unfinished:
        message = str(unfinished)
    return Evaluation(
        evaluation_id=f"e{evaluated_at:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}",
        evaluated_at=evaluated_at,
        sets=tuple(results),
        gate=() if message else tuple(decide(gates, sets)),
        not_decided=tuple(not_decided([*own, *(line for line in configured if line not in own)], gates, manifests)),
        calls=run.calls,
        run_ids=run.run_ids,
        currency=config.relabel.currency,
        answers=request.replay or "model",
        message=message,
    )


def _refuse_unused(request: Request) -> None:
    """Raise ConfigError for a set without a policy to measure, and for a policy without a set."""
    policies = {policy.name for policy in request.sides[0].policies}
    for golden_set in request.sets:
        if not policies & set(golden_set.manifest.mapping):
            golden_set.manifest.answers_for(sorted(policies))
    for policy in sorted(policies):
        if not any(policy in golden_set.manifest.mapping for golden_set in request.sets):
            request.sets[0].manifest.answers_for([policy])


def gates_of(config: RunConfig, policies: Sequence[Policy]) -> list[SetGate]:
    """The lines of the policies' front matter, each about its own policy, and those of the configuration about them."""
    own = [
        line if line.policy else line.model_copy(update={"policy": policy.name})
        for policy in policies
        for line in policy.gate.sets
    ]
    names = {policy.name for policy in policies}
    return [*own, *(line for line in config.relabel.gate.sets if line.policy is None or line.policy in names)]


def _gates(config: RunConfig, request: Request) -> list[SetGate]:
    """The lines about the sets that are evaluated."""
    refs = {name for golden_set in request.sets for name in (golden_set.manifest.name, golden_set.manifest.ref)}
    return [line for line in gates_of(config, request.sides[0].policies) if line.set in refs]


def evaluate_and_record(spark: SparkSession, config: RunConfig, request: Request, *, show: bool = True) -> Evaluation:
    """Evaluate, log the result to MLflow and append it to `evaluations`, if there is an output.

    What has no figures, because a label run did not finish, is not recorded.
    """
    result = evaluate(spark, config, request, show=show)
    if result.message is None:
        result = replace(result, mlflow_run_id=log_evaluation(config, result))
        if config.output:
            append_evaluation(spark, config.output, result)
    return result


class _Verdicts(NamedTuple):
    """The verdicts of a side, a frame per policy, and what gave them."""

    frames: list[DataFrame]
    evaluated: tuple[Evaluated, ...]


@dataclass
class _Run:
    """One evaluation under way."""

    spark: SparkSession
    config: RunConfig
    request: Request
    show: bool
    calls: int = 0
    run_ids: tuple[str, ...] = ()

    def measure(self, golden_set: GoldenSet) -> tuple[SetResult, SetCounts]:
        """Label and measure one set."""
        manifest, first = golden_set.manifest, self.request.sides[0]
        names = [policy.name for policy in first.policies if policy.name in manifest.mapping]
        sides = [side.of_policies(names) for side in self.request.sides]
        changes, notes = _changes(golden_set, sides)
        left_out = [f"{name} {rule}" for name, change in changes.items() for rule in change.affected]
        cohort = Cohort.of(manifest, names, left_out=left_out)
        # Before a call on this set: a wrong id, or another cohort, is refused.
        past = [side for id in self.request.past for side in past_sides(self.spark, self.config, id, manifest, cohort)]
        gold = open_gold(self.spark, golden_set, sides[0].policies, self.request.slices, changes)
        verdicts = self._verdicts(gold, sides)
        results, tally, again = self._counted(gold, sides, verdicts)
        notes += [
            f"Answers for {name} that name a rule which changed since, unknown until decided again: {count:,}."
            for name, count in again.items()
        ]
        checks = [
            result
            for check in self.request.checks
            for result in run_check(self.spark, gold, check, verdicts[0].frames, self._label_by)
        ]
        result = SetResult(
            ref=manifest.ref,
            digest=manifest.digest,
            cohort=cohort,
            contents=sum(item.contents for item in tally.items if item.slice == ALL),
            sides=(*results, *past),
            decide_again=again,
            notes=tuple(notes),
            checks=tuple(checks),
        )
        return result, tally

    def _counted(
        self, gold: Gold, sides: Sequence[Side], verdicts: Sequence[_Verdicts]
    ) -> tuple[list[SideResult], SetCounts, dict[str, int]]:
        """What each side did, the counts of the first side for the gate, and the answers to decide again by policy."""
        ref = gold.golden_set.manifest.ref
        frames = [side.frames for side in verdicts]
        salts = [f"repeat-{number}" for number in range(2, self.request.repeat + 1)]
        frames += [[*map(labelled_verdicts, self._labels(gold, sides[0], salt))] for salt in salts]
        with counts.grouped(gold.answers, sides[0].policies, frames) as cells:
            tallies = [
                SetCounts(counts.counts(cells, number), counts.item_counts(cells, number))
                for number in range(len(sides))
            ]
            results = [
                _side_result(ref, cells, number, self._name(side), verdicts[number].evaluated, tallies[number])
                for number, side in enumerate(sides)
            ]
            if self.request.repeat > 1:
                runs = [0, *range(len(sides), len(frames))]
                noise = disagreement(ref, counts.repeat_counts(cells, runs))
                results[0] = replace(results[0], metrics=(*results[0].metrics, *noise))
            return results, tallies[0], counts.decide_again_counts(cells)

    def _verdicts(self, gold: Gold, sides: Sequence[Side]) -> list[_Verdicts]:
        """The verdicts of each side, by a model or from the recording, and what gave them."""
        location = self.request.replay
        if not location:
            return [self._labelled(gold, side) for side in sides]
        replay = open_replay(self.spark, location, gold.golden_set.manifest)
        name, digest = f"replay of {replay.name}", recording_digest(location)
        return [
            _Verdicts(
                [replayed_verdicts(replay, policy) for policy in side.policies],
                tuple(Evaluated(policy.ref, policy.policy_hash, name, digest) for policy in side.policies),
            )
            for side in sides
        ]

    def _labelled(self, gold: Gold, side: Side) -> _Verdicts:
        """The verdicts of each policy by a model, and what gave them."""
        labels, evaluated = self._labels(gold, side), []
        for policy, own in zip(side.policies, labels, strict=True):
            labeler = Labeler.of(side.config, policy)
            hashes = (policy.policy_hash, labeler.name, labeler.labeler_hash)
            evaluated.append(Evaluated(policy.ref, *hashes, *tokens_of(own), self._cost(labeler.labeler_hash)))
        return _Verdicts([labelled_verdicts(own) for own in labels], tuple(evaluated))

    def _labels(self, gold: Gold, side: Side, salt: str | None = None) -> list[DataFrame]:
        """Label the set, where it has no labels yet, and read the labels of each policy back."""
        config = gold.label_config(side.config)
        # A table with the set's name may have labels of a screen: the labeler is what is measured.
        selection = Selection(gold.contents, salt=salt, activates=False, rejudged=self._screens)
        result = label_table(self.spark, config, side.policies, show=self.show, selection=selection)
        self.calls += result.calls
        self.run_ids = (*self.run_ids, result.run_id)
        if result.exit_code:
            raise _UnfinishedError(f"{gold.golden_set.manifest.ref}, {side.name}: {result.message}")
        labels = self._tables.read(schema.LABELS).where("screened_for IS NULL")
        specs = [LabelSpec.of(config, policy, salt) for policy in side.policies]
        return [labels_of(labels, spec, config, gold.contents) for spec in specs]

    @cached_property
    def _screens(self) -> tuple[str, ...]:
        """The hashes of all screens of the output."""
        tables = Tables(self.spark, self.config.output or "")
        return tuple(screen.screen_hash for screen in all_screens(tables)) if tables.exists() else ()

    def _label_by(self, gold: Gold, policy: Policy) -> DataFrame:
        """The verdicts on a set by another text than the side's policies."""
        (labels,) = self._labels(gold, replace(self.request.sides[0], policies=(policy,)))
        return labelled_verdicts(labels)

    def _name(self, side: Side) -> str:
        """The side in words; recorded answers have no labeler of ours."""
        refs = ", ".join(policy.ref for policy in side.policies)
        return f"{refs} in {self.request.replay}" if self.request.replay else side.name

    @property
    def _tables(self) -> Tables:
        return Tables.open(self.spark, self.config.output)

    def _cost(self, labeler_hash: str) -> float | None:
        price = self.config.relabel.price_per_engine_hour
        estimate = None if price is None else estimate_cost(1000, past_runs(self._tables, labeler_hash), price)
        return None if estimate is None or estimate.money is None else estimate.money.median


def _side_result(
    ref: str, cells: counts.Cells, number: int, name: str, evaluated: tuple[Evaluated, ...], tally: SetCounts
) -> SideResult:
    metrics = [*exact_match(ref, tally.items), *measure(ref, tally.counts)]
    differences = []
    if number:
        differences += exact_match_differences(ref, counts.item_pair_counts(cells, 0, number))
        differences += paired_differences(ref, counts.pair_counts(cells, 0, number))
    return SideResult(
        name=name,
        evaluated=evaluated,
        metrics=tuple(metrics),
        names=tuple(name_metrics(ref, counts.name_counts(cells, number))),
        categories=tuple(counts.category_counts(cells, number)),
        differences=tuple(differences),
    )


def _changes(golden_set: GoldenSet, sides: Sequence[Side]) -> tuple[dict[str, RuleChanges], list[str]]:
    """By policy, what the sides' versions change since people decided; and what cannot be known about that."""
    changes: dict[str, RuleChanges] = {}
    notes: list[str] = []
    for side in sides:
        for policy in side.policies:
            version = golden_set.manifest.decided_under.get(policy.name)
            if version in (None, policy.version):
                continue
            ref = f"{policy.name}@{version}"
            try:
                change = rule_changes(resolve(ref, side.config), policy)
            except PolicyError:
                notes.append(f"People decided under {ref}, which is not here: what changed since then is unknown.")
                continue
            before = changes.get(policy.name, RuleChanges())
            changes[policy.name] = RuleChanges(
                removed=tuple(dict.fromkeys((*before.affected, *change.affected))),
                categories=tuple(dict.fromkeys((*before.categories, *change.categories))),
            )
    return {name: change for name, change in changes.items() if change.affected}, notes
