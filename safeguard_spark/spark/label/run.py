"""A run in progress: its inputs, and what it has done so far."""

import contextlib
import secrets
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from types import MappingProxyType
from typing import NamedTuple

from pyspark.sql import SparkSession

from safeguard_spark import schema
from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import ConfigError
from safeguard_spark.keys import sha256
from safeguard_spark.labelling.rows import LabelSpec
from safeguard_spark.policy.document import Policy
from safeguard_spark.relabel.budget import Budget
from safeguard_spark.screen.record import Screen
from safeguard_spark.spark.label.candidates import Candidates, Way, find_candidates, unchanged
from safeguard_spark.spark.label.progress import Listener
from safeguard_spark.spark.sampling import SHADOW, sample_score
from safeguard_spark.spark.screens import find_screen
from safeguard_spark.spark.shared import refuse_driver_local, refuse_unshared, require_volume
from safeguard_spark.spark.source import Source, SourceTable, find_source, refuse_overlap
from safeguard_spark.spark.staging import Manifest, SourceVersion, Staging
from safeguard_spark.spark.tables import Tables


@dataclass(frozen=True)
class Selection:
    """The part of the source that a run labels, by default all of it, and how much it may spend.

    With a `salt` its labels only measure noise and never count, and no screen is used. `activates`: whether a policy
    that has no active version becomes active with it. `rejudged`: hashes of screens whose contents are pending again.
    """

    source: Source | None = None
    budget: Budget = Budget()  # noqa: RUF009  frozen
    plan_id: str | None = None
    salt: str | None = None
    activates: bool = True
    rejudged: tuple[str, ...] = ()
    full: bool = False  # read all of the source, whatever was covered before
    share: float | None = None  # of the contents, by the sample of the shadow versions

    @property
    def is_covering(self) -> bool:
        """Whether a run that labels all of it covers the source, or the sample of it."""
        return replace(self, budget=Budget(), plan_id=None, full=False, share=None) == Selection()

    @property
    def is_whole(self) -> bool:
        """Whether it is all of the source, in a run that is not there for something else."""
        return replace(self, full=False) == Selection()


def specs_of(config: RunConfig, policies: Sequence[Policy], salt: str | None = None) -> tuple[LabelSpec, ...]:
    """One spec per policy; a policy that is named twice is one. Raises ConfigError for two texts of one version."""
    by_ref = dict[str, Policy]()
    for policy in policies:
        if by_ref.setdefault(policy.ref, policy).policy_hash != policy.policy_hash:
            raise ConfigError(
                f"Two of the policies are {policy.ref}, with different texts. Name one of them, or give the other "
                "another version."
            )
    return tuple(LabelSpec.of(config, policy, salt) for policy in by_ref.values())


def configured_screen(tables: Tables, config: RunConfig, specs: Sequence[LabelSpec]) -> Screen | None:
    """The screen of a run, which may be retired. Raises ConfigError if it is none of these policies and labelers."""
    if config.screen.id is None:
        return None
    screen = find_screen(tables, config.screen.id)
    if not any(screen.fits(spec) for spec in specs):
        screen.refuse_other(next((spec for spec in specs if spec.policy.name == screen.policy), specs[0]))
    return screen


def by_work(specs: Sequence[LabelSpec]) -> tuple[list[LabelSpec], list[LabelSpec]]:
    """The specs to label, and those with the text and labeler of one of them, which then reuse its verdicts."""
    first = {(spec.policy.policy_hash, spec.labeler.labeler_hash): spec for spec in reversed(specs)}
    later = [spec for spec in specs if spec not in first.values()]
    return [spec for spec in specs if spec not in later], later


@dataclass(frozen=True)
class RunContext:
    """The inputs of one execution of the label job."""

    spark: SparkSession
    config: RunConfig
    tables: Tables
    staging: Staging
    table: SourceTable | Source  # the source, or the part of it that the selection has
    specs: tuple[LabelSpec, ...]
    listener: Listener
    selection: Selection
    opened: Manifest  # without what is found after recovery
    run_id: str

    @classmethod
    def begin(
        cls, spark: SparkSession, config: RunConfig, policies: Sequence[Policy], selection: Selection | None = None
    ) -> "RunContext":
        """Open the source and the tables, which are created if needed. Raises SafeguardError."""
        selection = selection or Selection()
        specs = specs_of(config, policies, selection.salt)
        sample = None if selection.share is None else sample_score(SHADOW) < selection.share
        table = selection.source or find_source(spark, config.source, sample=sample)
        refuse_overlap(spark, config, table)
        refuse_driver_local(spark, config)
        require_volume(config)
        tables = Tables.open_or_create(spark, config.output)
        opened = Manifest.of(
            config,
            SourceVersion(name=table.name, version=table.version, collection=config.source.name),
            [spec.policy for spec in specs],
            [spec.labeler.labeler_hash for spec in specs],
            started_at=datetime.now(UTC),
            labels_version=tables.version(schema.LABELS),
            plan_id=selection.plan_id,
        )
        # Before anything is done: it may be refused.
        screen = configured_screen(tables, config, specs) if selection.salt is None else None
        if screen is not None and not isinstance(table, Source):  # else it was opened with them
            table = table.by_strata(screen.strata)
        staging = Staging(spark, config.run.staging or tables.sibling_folder("_staging"))
        refuse_unshared(spark, [staging.root, *([tables.sibling_folder("")] if config.run.staging else [])])
        return cls(
            spark=spark,
            config=config,
            tables=tables,
            staging=staging,
            table=table,
            specs=specs,
            listener=Listener(spark.conf.get("spark.driver.host", None) or "127.0.0.1"),
            selection=selection,
            opened=opened,
            run_id=f"{opened.started_at:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}",
        )

    @cached_property
    def screen(self) -> Screen | None:
        """The configured screen, which may be retired. Read after the recovery, which may retire it."""
        return configured_screen(self.tables, self.config, self.specs) if self.selection.salt is None else None

    def screen_of(self, spec: LabelSpec) -> Screen | None:
        """The screen that clears contents in front of a spec's labeler; None if there is none, or it is retired."""
        screen = self.screen
        return screen if screen is not None and not screen.is_retired and screen.fits(spec) else None

    @cached_property
    def candidates(self) -> Candidates:
        """The contents that may have to be labelled, as of the first use, which is after recovery."""
        if isinstance(self.table, Source):
            return Candidates(Way.all)  # those that the selection has
        return find_candidates(self.table, self.config, self.specs, self.tables, full=self.selection.full)

    @property
    def nothing(self) -> Candidates | None:
        """Nothing, if that can be said at once: no run has left anything staged, and nothing was committed since."""
        is_plain = replace(self.selection, share=None) == Selection()  # one with a plan leaves a row in `runs`
        if isinstance(self.table, Source) or not is_plain or self.staging.names():
            return None
        return unchanged(self.table, self.config, self.specs, self.tables)

    @cached_property
    def manifest(self) -> Manifest:
        """What the run is, for the driver that finishes it if this one dies."""
        seen, source = self.candidates.seen, self.opened.source
        if seen is not None:
            read = {"selection": sha256(seen.selection.parts), "read_at": seen.point.version}
            source = source.model_copy(update=read)
        return self.opened.model_copy(update={"source": source})

    @cached_property
    def source(self) -> Source:
        """The contents that may have to be labelled."""
        return self.table if isinstance(self.table, Source) else self.candidates.contents(self.table)

    @cached_property
    def num_rows(self) -> int:
        """The number of contents to label, counted once for all policies."""
        known = None if isinstance(self.table, Source) else self.candidates.num_rows(self.table)
        if known is not None:
            return known
        num_rows, limit = self.source.frame.count(), self.config.source.limit
        return min(num_rows, limit) if limit else num_rows


class Summary(NamedTuple):
    """A chunk's results.

    `counts` are calls: `called`, `answered`, `second_looks`; rows: `unavailable` (the engine could not answer them, so
    they stay pending), `over_share` (unreadable, and left without a second look); and tokens: `prompt`, `cached`,
    `completion`.
    """

    counts: Counter[str] = Counter()  # noqa: RUF012  never changed
    unavailable_cause: str | None = None  # why no engine could be used
    engine_error: str | None = None  # why an engine became unavailable while it worked
    server_ids: frozenset[str] = frozenset()
    engine_forms: frozenset[str] = frozenset()  # how its requests were written, as JSON
    exit_code: int | None = None  # of the error that ended a task's work
    failed_starts: Mapping[str, str] = MappingProxyType({})  # why an executor's engine did not start, by executor


@dataclass
class Tally:
    """What a run has done so far. Only the thread that runs the job changes it."""

    seconds: dict[str, float] = field(default_factory=dict)  # by phase
    counts: Counter[str] = field(default_factory=Counter)  # of all chunks, as in Summary
    failed_starts: dict[str, str] = field(default_factory=dict)  # why the engine of an executor did not start
    server_ids: set[str] = field(default_factory=set)  # the servers that this run started
    engine_forms: set[str] = field(default_factory=set)  # how requests were written, as JSON
    may_have_committed: bool = False
    over_budget: bool = False
    message: str | None = None  # why rows are left, if they are
    is_stopped: bool = False  # no other chunk is started
    _by_chunk: dict[int, Counter[str]] = field(default_factory=dict)

    def add(self, number: int, summary: Summary) -> None:
        """Add a chunk's results, in place of those it had."""
        self.counts.subtract(self._by_chunk.get(number, Counter()))
        self.counts.update(summary.counts)
        self._by_chunk[number] = summary.counts
        self.failed_starts.update(summary.failed_starts)
        self.server_ids.update(summary.server_ids)
        self.engine_forms.update(summary.engine_forms)

    @contextlib.contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Add the wall-clock seconds of a phase to `seconds`."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.seconds[phase] = self.seconds.get(phase, 0.0) + time.monotonic() - start
