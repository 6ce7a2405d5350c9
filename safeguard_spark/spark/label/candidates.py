"""Candidates: the contents that a run looks at. Those that changed since a covered version, else all of the source.

What a run labels is decided by the labels (`pending`): candidates that are too many cost time and never a label.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from py4j.protocol import Py4JError, Py4JJavaError  # type: ignore[import-untyped]
from pyspark.errors import AnalysisException

from safeguard_spark import schema
from safeguard_spark.config.model import RunConfig
from safeguard_spark.labelling.rows import LabelSpec
from safeguard_spark.spark.coverage import CoveredVersion, CoveredVersions, labels_changed
from safeguard_spark.spark.policies import is_recorded
from safeguard_spark.spark.screens import all_screens
from safeguard_spark.spark.source import Source, SourceTable
from safeguard_spark.spark.source.changes import changes_by_feed, changes_by_files, has_feed, why_all
from safeguard_spark.spark.source.contents import Changes
from safeguard_spark.spark.source.listing import changes_by_listing, list_files
from safeguard_spark.spark.source.selection import SourceSelection, selection_of
from safeguard_spark.spark.table_log import KEEPS_ROWS, Commit, Point, commits_since, newest_point, point_of
from safeguard_spark.spark.tables import Tables
from safeguard_spark.terminal import counted


class Way(StrEnum):
    """How candidates are found."""

    none = "nothing changed"
    feed = "the change feed"
    files = "files that were added"
    all = "all rows"


class Seen(NamedTuple):
    """A source as a run reads it: how, and at which commit; or which files, and a moment before they were listed."""

    selection: SourceSelection
    point: Point
    files: dict[str, str] | None = None

    def is_same(self, point: Point, files: dict[str, str] | None) -> bool:
        """Whether it is the same at another point, or with other files."""
        return self.files == files and (files is not None or self.point.is_same(point))


@dataclass(frozen=True)
class Candidates:
    """The contents that a run looks at: `changes` of the source, None for all of it.

    `why` says why all is read, empty if no run has done so. Without `seen` the run covers nothing. `labels`
    and `screens` are the newest commits before it plans, `retired` the hashes of the screens that are retired.
    """

    way: Way
    why: str = ""
    covered: CoveredVersion | None = None
    changes: Changes | None = None
    seen: Seen | None = None
    labels: Point | None = None
    screens: Point | None = None
    retired: tuple[str, ...] = ()

    @property
    def is_nothing(self) -> bool:
        """Whether nothing changed, so that no row is read."""
        return self.way is Way.none

    @property
    def message(self) -> str:
        """One sentence for people."""
        if self.covered is None:
            return f"All rows are read: {self.why}." if self.why else ""
        since = f"since version {self.covered.source.version} of the source"
        if self.covered.files is not None:
            listed = datetime.fromtimestamp(self.covered.source.at_ms / 1000, UTC)
            since = f"since the files of the source were listed on {listed:%Y-%m-%d at %H:%M:%S} UTC"
        if self.changes is None:
            return f"Nothing changed {since}."
        return f"{counted(self.changes.rows, 'row is', 'rows are')} read: {self.way.value} {since}."

    def num_rows(self, source: SourceTable) -> int | None:
        """How many contents the source has, None if they have to be counted."""
        if self.covered is None:
            return None
        if self.changes is None:
            return self.covered.rows
        if self.changes.growth is None:
            # Without a sample, from the log of a table or the footers of Parquet files.
            return (source.frame if source.sample is None else source.cells).count()
        return self.covered.rows + self.changes.growth

    def contents(self, source: SourceTable) -> Source:
        """These contents. Raises SourceError."""
        return source.contents(self.changes)


def see(source: SourceTable, config: RunConfig) -> Seen | str:
    """A source as it is now, or why no later run can know what changes in it."""
    share = None if source.sample is None else config.run.shadow_share
    try:
        selection = selection_of(source, {"run.max_attempts": config.run.max_attempts, "run.shadow_share": share})
        if isinstance(selection, str):
            return selection
        if selection.table is not None:
            return Seen(selection, point_of(source.frame))
        files = list_files(source)
        if files is None:
            return "the file system of the source does not say when a file was changed"
        return Seen(selection, Point(source.opened_ms, source.opened_ms), files)
    except Py4JError:  # a platform with classes of its own
        return "this platform does not show what is read of the source"


def unchanged(source: SourceTable, config: RunConfig, specs: Sequence[LabelSpec], tables: Tables) -> Candidates | None:
    """Nothing, if since a covered version nothing was committed to the source, to `labels` and to `activations`.

    Nor may anything be left to record of the policies. Without a Spark job. None if that cannot be said, which does not
    mean that there is something to do.
    """
    seen = see(source, config)
    versions = CoveredVersions(tables, config.source.collection(source.name))
    covered = None if isinstance(seen, str) else versions.of(specs, seen.selection.parts).version
    if isinstance(seen, str) or covered is None or _is_due(covered, config):
        return None
    if not seen.is_same(covered.source, covered.files):
        return None
    points = [
        (schema.LABELS, covered.labels), (schema.ACTIVATIONS, covered.activations), (schema.SCREENS, covered.screens),
    ]  # fmt: skip
    for table, point in points:
        if point is None or not newest_point(tables.spark, tables.sql(table)).is_same(point):
            return None
    if not all(is_recorded(spec.policy, config, covered.policies) for spec in specs):
        return None
    return Candidates(Way.none, "", covered, None, seen)


def find_candidates(
    source: SourceTable, config: RunConfig, specs: Sequence[LabelSpec], tables: Tables, *, full: bool = False
) -> Candidates:
    """The contents that may have to be labelled. Reads the logs of the source and of `labels`."""
    seen = see(source, config)
    if isinstance(seen, str):
        return Candidates(Way.all, seen)
    labels, collection = newest_point(tables.spark, tables.sql(schema.LABELS)), config.source.collection(source.name)
    screens, retired = _screens(tables)

    def all_rows(why: str) -> Candidates:
        return Candidates(Way.all, why, None, None, seen, labels, screens, retired)

    if full:
        return all_rows("--full")
    covered, why = CoveredVersions(tables, collection).of(specs, seen.selection.parts)
    if covered is None:
        return all_rows(why)
    if _is_due(covered, config):
        return all_rows(f"they were last read on {covered.full_at:%Y-%m-%d} (run.full_every)")
    if changed := _labels_changed(tables, covered, collection, specs, labels, seen):
        return all_rows(changed)
    if retired != covered.retired:
        return all_rows("a screen was retired, and what it cleared is pending again")
    try:
        found = _found(source, seen, covered)
    except Py4JJavaError:  # a job that failed
        raise
    except Py4JError:
        found = "this platform does not show which rows changed"
    if isinstance(found, str):
        return all_rows(found)
    return Candidates(found.way, "", covered, found.changes, seen, labels, screens, retired)


def _screens(tables: Tables) -> tuple[Point | None, tuple[str, ...]]:
    """The newest commit of `screens`, and the hashes of the screens that are retired."""
    try:
        point = newest_point(tables.spark, tables.sql(schema.SCREENS))
    except AnalysisException:  # an output of an earlier release, before its next label run
        return None, ()
    return point, tuple(sorted(screen.screen_hash for screen in all_screens(tables) if screen.is_retired))


def _is_due(covered: CoveredVersion, config: RunConfig) -> bool:
    return datetime.now(UTC) - covered.full_at >= timedelta(days=config.run.full_every)


def _labels_changed(
    tables: Tables, covered: CoveredVersion, collection: str, specs: Sequence[LabelSpec], labels: Point, seen: Seen
) -> str | None:
    if labels.is_same(covered.labels):
        return None
    commits = commits_since(tables.spark, tables.sql(schema.LABELS), covered.labels)
    if commits is None:
        return "the log of labels no longer says what was written since the last run"
    return labels_changed(commits, covered, collection, specs, seen.point.version)


class _Found(NamedTuple):
    way: Way
    changes: Changes | None = None


def _found(source: SourceTable, seen: Seen, covered: CoveredVersion) -> _Found | str:
    """What changed in the source since it was covered, or why that cannot be known."""
    if seen.is_same(covered.source, covered.files):
        return _Found(Way.none)
    table, commits = seen.selection.table, list[Commit]()
    if table is not None:
        listed = commits_since(source.spark, table, covered.source)
        if listed is None:
            return f"version {covered.source.version} of the source is no longer in its log"
        commits = [commit for commit in listed if commit.point.version <= seen.point.version]
        if not commits:
            return f"version {seen.point.version} is older than version {covered.source.version}, labelled last"
        if why := why_all(commits):
            return why
        if all(commit.operation in KEEPS_ROWS for commit in commits):
            return _Found(Way.none)
    if source.config.limit is not None:
        return "source.limit takes the lowest ids of all"
    if source.config.duplicate_ids == "all":
        return "with source.duplicate_ids=all the other contents of an id matter"
    if table is None:
        changes = changes_by_listing(source, covered.files or {}, seen.files or {})
    elif has_feed(source, commits) and (changed := changes_by_feed(source, table, commits)):
        return _Found(Way.feed, changed)
    else:
        changes = changes_by_files(source, commits)
    return changes if isinstance(changes, str) else _Found(Way.files, changes)
