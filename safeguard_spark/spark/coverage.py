"""Covered versions: up to which version of its source the labels of a policy version and labeler are complete.

A run that labelled all of a source leaves a small file next to the tables, one for each collection, policy version and
labeler. A later run of the same need look only at what changed since, unless the labels were changed by something else:
an erasure, a restored version, or labels of the same contents that were read in another way.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from safeguard_spark import schema
from safeguard_spark.keys import sha256
from safeguard_spark.labelling.rows import LabelSpec
from safeguard_spark.policy.document import Policy
from safeguard_spark.spark.commit_log import scope_of
from safeguard_spark.spark.files import Files
from safeguard_spark.spark.source.selection import difference
from safeguard_spark.spark.table_log import KEEPS_ROWS, Commit, Point, commits_since, newest_point
from safeguard_spark.spark.tables import Tables

FOLDER = "_covered"  # next to the tables


class CoveredVersion(BaseModel):
    """What a complete run covered."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    selection: dict[str, str]  # how the source is read: what has to be the same, by its name in a message
    source: Point  # of files, when they were listed
    files: dict[str, str] | None = None  # of a source without commits: each with its size and time of change
    labels: Point  # what was written to `labels` up to here is known to be of no harm
    activations: Point
    screens: Point | None = None  # before the run planned, and the hashes of those that were retired
    retired: tuple[str, ...] = ()
    full_at: datetime  # when a run last read all of the source
    rows: int  # contents of the source
    given_up: int = 0  # of these, the ones that failed `run.max_attempts` times
    message: str | None = None  # the part of the run's message that still holds
    policies: dict[str, bool] = {}  # by document hash: whether `policies` has its publication


class Coverage(NamedTuple):
    """The covered version that a run can go on from, or why there is none; empty if nothing was ever covered."""

    version: CoveredVersion | None
    why_none: str = ""


def key_of(spec: LabelSpec) -> str:
    """The identity of a policy version and labeler, as commits to `labels` and covered versions name it."""
    return spec_key(spec.policy, spec.labeler.labeler_hash, spec.labeler.salt)


def spec_key(policy: Policy, labeler_hash: str, salt: str | None = None) -> str:
    """The same, without the labeler."""
    return sha256([policy.ref, policy.policy_hash, labeler_hash, salt])


class CoveredVersions:
    """The covered versions of a collection."""

    def __init__(self, tables: Tables, collection: str) -> None:
        self.collection = collection
        self._files = Files(tables.spark, tables.sibling_folder(FOLDER))

    def of(self, specs: Sequence[LabelSpec], selection: dict[str, str]) -> Coverage:
        """The version that one run covered for all of these specs, read in this way."""
        found = {spec.policy.ref: self._read(spec) for spec in specs}
        versions = [version for version in found.values() if version is not None]
        if len(versions) < len(found):
            new = next(ref for ref, version in found.items() if version is None)
            return Coverage(None, f"no complete run has labelled them under {new}" if versions else "")
        for version in versions:
            if version.selection != selection:
                return Coverage(None, f"{difference(version.selection, selection)} changed")
        if any(version != versions[0] for version in versions):
            return Coverage(None, "the policies were last labelled by different runs")
        return Coverage(versions[0])

    def write(self, specs: Sequence[LabelSpec], version: CoveredVersion) -> None:
        """Record a version for these specs."""
        for spec in specs:
            self._files.write_text(version.model_dump_json(), self._name(spec))

    def _read(self, spec: LabelSpec) -> CoveredVersion | None:
        text = self._files.read_text(self._name(spec))
        try:
            return None if text is None else CoveredVersion.model_validate_json(text)
        except ValidationError:  # of another release
            return None

    def _name(self, spec: LabelSpec) -> str:
        return f"{sha256([self.collection, key_of(spec)])[:32]}.json"


def cover(tables: Tables, collection: str, specs: Sequence[LabelSpec], version: CoveredVersion) -> None:
    """Record a version as covered for these specs, with what the run itself has written to `labels` since it planned.

    If something else was written that may do harm, the next run finds it.
    """
    table = tables.sql(schema.LABELS)
    if not newest_point(tables.spark, table).is_same(version.labels):
        commits = commits_since(tables.spark, table, version.labels)
        if commits and labels_changed(commits, version, collection, specs, version.source.version) is None:
            version = version.model_copy(update={"labels": commits[-1].point})
    CoveredVersions(tables, collection).write(specs, version)


def labels_changed(
    commits: Sequence[Commit], covered: CoveredVersion, collection: str, specs: Sequence[LabelSpec], newest: int
) -> str | None:
    """Why the labels may no longer be those of the covered version after some commits to `labels`, or None.

    `newest` is the version of the source that is read now. A run that read the source in the same way, from the covered
    version to that one, does no harm: the contents whose newest label it changed have changed in the source since the
    covered version, so they are candidates. Of files no other list is known to lie in between.
    """
    keys, selection = {key_of(spec) for spec in specs}, sha256(covered.selection)
    oldest = covered.source.version
    versions = range(oldest, (oldest if covered.files is not None else newest) + 1)
    for commit in commits:
        if commit.operation in KEEPS_ROWS:
            continue
        where = f"version {commit.point.version} of labels"
        scope = scope_of(commit.user_metadata)
        if scope is None:
            return f"labels were changed or erased ({commit.operation}, {where})"
        if scope.collection != collection or scope.spec not in keys:
            continue
        if scope.selection != selection or scope.version not in versions:
            return f"labels of its contents were written in another way ({where})"
    return None
