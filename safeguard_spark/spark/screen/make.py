"""Make a screen from labels that are there: plan, train, calibrate."""

import contextlib
import hashlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from pyspark.sql import SparkSession

from safeguard_spark import schema
from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import EngineError, GateError
from safeguard_spark.evaluation.intervals import LEVEL
from safeguard_spark.labelling.rows import LabelSpec
from safeguard_spark.policy.document import Policy
from safeguard_spark.relabel.estimate import estimate_cost
from safeguard_spark.screen.glance import GlanceScreen
from safeguard_spark.screen.linear import LinearScreen
from safeguard_spark.screen.parts import Part
from safeguard_spark.screen.plan import ScreenPlan, Spared
from safeguard_spark.screen.record import Kind, Screen, refuse_critical, stratum_thresholds
from safeguard_spark.screen.scorer import Scorer
from safeguard_spark.screen.threshold import Scored, Thresholds, calibrate, curve, savings, thresholds_of
from safeguard_spark.spark.label.pending import cached_pending_keys
from safeguard_spark.spark.label.run_rows import past_runs
from safeguard_spark.spark.relabel.human_decisions import human_agreement
from safeguard_spark.spark.screen.material import Judged, Material, read_material, sizes
from safeguard_spark.spark.screens import add_screen, all_screens, find_screen, without_retired
from safeguard_spark.spark.source import Source, open_source
from safeguard_spark.spark.tables import Tables
from safeguard_spark.tracking.artifacts import artifact_address, read_artifact
from safeguard_spark.tracking.runs import log_finished_run

FILE = "screen.skops"


@dataclass(frozen=True)
class Workbench:
    """What a screen is made from: the tables, the source, a policy as one labeler applies it, and its verdicts."""

    config: RunConfig
    tables: Tables
    source: Source
    spec: LabelSpec
    material: Material
    strata: str | None

    @classmethod
    def open(cls, spark: SparkSession, config: RunConfig, policy: Policy, strata: str | None) -> "Workbench":
        """Read the verdicts that are there. Raises SafeguardError."""
        tables = Tables.open(spark, config.output)
        source, spec = open_source(spark, config.source, strata=strata), LabelSpec.of(config, policy)
        return cls(config, tables, source, spec, read_material(config, tables, spec, source), strata)

    @contextlib.contextmanager
    def scorer(self, kind: Kind) -> Iterator[Scorer]:
        """A classifier from the part for training, or the engine of this process. Raises GateError, EngineError."""
        if kind == "linear":
            judged = self.material.parts[Part.train]
            yield LinearScreen.train(judged.contents, judged.violations)
            return
        from safeguard_spark.engines.factory import open_engine

        window, run_id = self.config.engine.requests_in_flight, f"glance-{secrets.token_hex(4)}"
        with open_engine(self.config.engine, run_id=run_id, window=window, devices=[]) as engine:
            yield GlanceScreen(self.spec, engine)

    def scored(self, classifier: Scorer, part: Part) -> Scored:
        """A part with its scores. Raises EngineError if an engine gave none."""
        judged: Judged = self.material.parts[part]
        scores = classifier.scores(judged.contents)
        if len(scores) and np.isnan(scores).all():
            raise EngineError(
                f"The engine gave none of {len(scores):,} contents a score. A glance needs log probabilities of single "
                "tokens, as vLLM's /inference/v1/generate lists them: --kind linear needs no engine."
            )
        strata = judged.strata if self.strata else None
        return Scored(scores, np.asarray(judged.violations, dtype=bool), strata)


def plan_screen(
    spark: SparkSession, config: RunConfig, policy: Policy, kind: Kind, strata: str | None = None
) -> ScreenPlan:
    """What a screen would give at several targets. Writes nothing. Raises SafeguardError.

    `strata`: a column of the source, or an expression over it, each value of which has a threshold of its own.
    """
    bench = Workbench.open(spark, config, policy, strata)
    with bench.scorer(kind) as scorer:
        points = curve(bench.scored(scorer, Part.calibration), bench.scored(scorer, Part.test))
    labels = without_retired(bench.tables, bench.tables.read(schema.LABELS, bench.material.labels_version))
    with cached_pending_keys(config, bench.spec, bench.source, labels) as keys:
        unlabelled = keys.rows
    rows = bench.source.frame.count()
    past, price = past_runs(bench.tables, bench.spec.labeler.labeler_hash), config.relabel.price_per_engine_hour
    targets = []
    for point in points:
        spared = savings(point, unlabelled or rows, bench.material.prevalence)
        cost = estimate_cost(spared.spared - spared.audit, past, price) if spared and spared.is_worth_it else None
        targets.append(Spared(point, spared, cost))
    labeler_hash = bench.spec.labeler.labeler_hash
    agreement = human_agreement(spark, config, bench.tables, policy, labeler_hash, with_screened=False)
    return ScreenPlan(
        kind=kind,
        policy_ref=policy.ref,
        labeler=bench.spec.labeler.name,
        contents=bench.material.num_contents,
        parts=sizes(bench.material.parts),
        unlabelled=unlabelled,
        rows=rows,
        targets=tuple(targets),
        labeler_recall=agreement.recall if agreement else None,
        currency=config.relabel.currency,
        strata=strata,
    )


def train_screen(
    spark: SparkSession,
    config: RunConfig,
    policy: Policy,
    target: float,
    kind: Kind = "linear",
    *,
    critical: bool,
    strata: str | None = None,
) -> Screen:
    """Train a screen, set its thresholds, and record both. A glance needs no training. Raises SafeguardError."""
    refuse_critical(policy, critical)
    bench = Workbench.open(spark, config, policy, strata)
    with bench.scorer(kind) as scorer:
        return _record(bench, scorer, target, kind, critical=critical)


def calibrate_screen(
    spark: SparkSession,
    config: RunConfig,
    policy: Policy,
    screen_id: str,
    target: float,
    strata: str | None = None,
) -> Screen:
    """Set the thresholds of a screen's classifier anew, by the labels that are there now: another screen.

    By default with the strata that it has. Raises SafeguardError.
    """
    screen = find_screen(Tables.open(spark, config.output), screen_id)
    screen.refuse_other(LabelSpec.of(config, policy))
    strata = strata or screen.strata
    if screen.artifact is None:
        return train_screen(spark, config, policy, target, screen.kind, critical=screen.critical, strata=strata)
    bench = Workbench.open(spark, config, policy, strata)
    data = read_artifact(config, screen.artifact, str(screen.artifact_sha256))
    return _record(bench, LinearScreen.loads(data), target, screen.kind, critical=screen.critical, trained=screen)


def _thresholds(bench: Workbench, calibration: Scored, target: float) -> Thresholds:
    """The thresholds of a screen. Raises GateError if none can keep its promise."""
    thresholds = thresholds_of(calibration, target)
    if thresholds.by_stratum:
        return thresholds
    if bench.strata is None:
        calibrate(calibration.positives, target)  # raises
    most = max(thresholds.too_few.values(), default=0)
    raise GateError(
        f"A recall of {target:g} takes {thresholds.needed:,} violations to calibrate on in a stratum, and no "
        f"{bench.strata} has more than {most:,}. Label more of the table, or set a lower target."
    )


def _record(
    bench: Workbench,
    classifier: Scorer,
    target: float,
    kind: Kind,
    *,
    critical: bool,
    trained: Screen | None = None,
) -> Screen:
    calibration, test = bench.scored(classifier, Part.calibration), bench.scored(classifier, Part.test)
    thresholds = _thresholds(bench, calibration, target)
    (point,) = curve(calibration, test, [target])
    if point.cleared is None or not point.cleared.hits:
        raise GateError(
            f"At a target of {target:g} the screen would clear none of {len(test.scores):,} test contents. Set a lower "
            "target, or label more to learn from."
        )
    data = classifier.dumps() if isinstance(classifier, LinearScreen) and trained is None else None
    spec, material = bench.spec, bench.material
    screen = Screen(
        kind=kind,
        policy=spec.policy.name,
        policy_version=spec.policy.version,
        policy_hash=spec.policy.policy_hash,
        labeler=spec.labeler.name,
        labeler_hash=spec.labeler.labeler_hash,
        target=target,
        risk=1 - LEVEL,
        threshold=None if bench.strata else thresholds.by_stratum[None].score,
        rank=thresholds.rank,
        positives=thresholds.positives,
        contents=material.num_contents,
        prevalence=material.prevalence,
        cleared=point.cleared.value,
        cleared_low=point.cleared.low,
        cleared_high=point.cleared.high,
        recall=point.recall.value if point.recall else None,
        recall_low=point.recall.low if point.recall else None,
        critical=critical,
        strata=bench.strata,
        thresholds=stratum_thresholds(thresholds),
        collection=material.collection,
        labels_version=material.labels_version,
        artifact=trained.artifact if trained else None,
        artifact_sha256=hashlib.sha256(data).hexdigest() if data else trained.artifact_sha256 if trained else None,
    )
    bench.tables.create()  # the tables of this release
    same = next((other for other in all_screens(bench.tables) if other.screen_id == screen.screen_id), None)
    if same is not None and same.is_retired:
        raise GateError(
            f"By these labels it would be screen {same.screen_id} again, which is retired. Label more first."
        )
    if data is not None:
        numbers = {name: value for name, value in screen.model_dump().items() if isinstance(value, float | int)}
        names = {"screen_id": screen.screen_id, "policy": spec.policy.ref, "policy_hash": spec.policy.policy_hash,
                 "labeler_hash": spec.labeler.labeler_hash}  # fmt: skip
        run_id = log_finished_run(bench.config, f"screen {screen.screen_id}", names, numbers, {FILE: data})
        screen = screen.model_copy(update={"artifact": artifact_address(run_id, FILE)})
    add_screen(bench.tables, screen)
    return screen
