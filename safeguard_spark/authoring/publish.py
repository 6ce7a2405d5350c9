"""Publishing: checked policies go into MLflow's registry and are pinned in the lock."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from safeguard_spark.authoring.check import check_file, stray_diagnostics
from safeguard_spark.authoring.check_output import problem_counts
from safeguard_spark.authoring.diagnostics import Level, Report
from safeguard_spark.authoring.diff import RELABELS, labeler_changes
from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import PolicyError
from safeguard_spark.policy.document import Policy, load_policy, read_text, ref_key
from safeguard_spark.policy.layout import Stray
from safeguard_spark.policy.lock import LockStatus, load_lock, lock_path, save_lock
from safeguard_spark.policy.ref import policy_file, require_distinct_name
from safeguard_spark.tracking.registry import Published, Registry


class Candidate(NamedTuple):
    """A policy file without errors: its policy, its text, and the result of `safeguard check` in a few words."""

    policy: Policy
    document: str
    check: str


@dataclass(frozen=True)
class Publication:
    """What was published. `registry` is None if there was none to publish to; `aliases` are those that moved."""

    registry: str | None
    published: tuple[Published, ...]
    pinned: tuple[str, ...]
    aliases: tuple[tuple[str, str], ...]  # (alias, name@version)
    lock: Path
    relabelled: tuple[tuple[str, str], ...] = ()  # (name@version, the labeler settings that changed since)


def publish_candidates(
    files: Sequence[Path], folder: Path, strays: Sequence[Stray] = ()
) -> tuple[list[Candidate], Report]:
    """The files that are ready to be published, and what keeps the others from it: errors and placeholders.

    `strays` are files that are meant to be policies and are in no version's place. Raises PolicyError for a file
    without problems that is not where its version belongs below `folder`: no command would find it there.
    """
    ready: list[Candidate] = []
    refused = list(stray_diagnostics(strays))
    for file in files:
        diagnostics = check_file(file)
        blocking = [d for d in diagnostics if d.level is Level.error or d.code == "todo"]
        refused.extend(blocking)
        if not blocking:
            policy = load_policy(file)
            place = policy_file(folder, policy.name, policy.version)
            if file.resolve() != place.resolve():
                raise PolicyError(
                    f"{file} is {policy.ref}, which belongs into {place}. Move it there, with its cases, then publish."
                )
            ready.append(Candidate(policy, read_text(file), problem_counts(Report(1, diagnostics))))
    return ready, Report(len(files), tuple(refused))


def publish_all(
    candidates: Sequence[Candidate], config: RunConfig, *, alias: str | None = None, registry: bool = True
) -> Publication:
    """Publish what is not yet published, pin it, and point `alias` at the newest of these versions of each policy.

    A second time changes nothing. Without `registry`, versions are only pinned. Raises PolicyError, ConfigError.
    """
    candidates = sorted(candidates, key=lambda c: ref_key(c.policy.ref))
    path = lock_path(config.policies)
    before = load_lock(path)
    for candidate in candidates:
        pinned_names = {ref.partition("@")[0] for ref in before.pins}
        if candidate.policy.name not in pinned_names:
            require_distinct_name(candidate.policy.name, pinned_names | {c.policy.name for c in candidates})
    lock = before.with_policies(candidate.policy for candidate in candidates)
    store = Registry.of(config) if registry else None
    published = [store.publish(c.document, c.check, lock.lock_hash) for c in candidates] if store else []
    newest = {c.policy.name: c.policy for c in candidates}.values()  # candidates are in order of version
    moved = [(alias, p.ref) for p in newest if store and alias and store.set_alias(p.name, alias, p.version)]
    pinned = tuple(ref for ref, pin in lock.pins.items() if before.pins.get(ref) != pin)
    if pinned:
        # Last: text that the registry refused may still be corrected.
        save_lock(lock, path)
    relabelled = tuple(
        (policy.ref, ", ".join(labeler_changes(earlier, policy.labeler)))
        for policy in (candidate.policy for candidate in candidates)
        if before.status(policy) is LockStatus.labeler_changed and (earlier := before.pins[policy.ref].labeler)
    )
    return Publication(store.display_name if store else None, tuple(published), pinned, tuple(moved), path, relabelled)


def publication_json(done: Publication) -> dict[str, Any]:
    """For programs."""
    return {
        "registry": done.registry,
        "lock": str(done.lock),
        "policies": [p._asdict() for p in done.published],
        "pinned": list(done.pinned),
        "aliases": [{"alias": alias, "ref": ref} for alias, ref in done.aliases],
        "relabelled": [{"ref": ref, "changes": changes} for ref, changes in done.relabelled],
    }


def publication_text(done: Publication) -> str:
    """For people: one line per change, and a summary."""
    new = {p.ref: f"published as prompt version {p.number}" for p in done.published if p.is_new}
    pinned = dict.fromkeys(done.pinned, f"pinned in {done.lock}")
    refs = dict.fromkeys([*new, *pinned])
    lines = [f"{ref}: " + ", ".join(changes[ref] for changes in (new, pinned) if ref in changes) for ref in refs]
    lines += [f"{ref}: {changes}: {RELABELS}." for ref, changes in done.relabelled]
    lines += [f"{alias} -> {ref}" for alias, ref in done.aliases]
    if done.registry:
        same = len(done.published) - len(new)
        lines.append(f"{done.registry}: {len(new)} published, {same} already there.")
    elif not pinned:
        lines.append(f"Everything is already pinned in {done.lock}.")
    return "\n".join([*lines, ""])
