"""Policy list: every version in the policies folder, its status in the lock, and its aliases."""

from typing import NamedTuple

from safeguard_spark.authoring.cases import cases_path, load_cases
from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import PolicyError
from safeguard_spark.policy.document import load_policy, ref_key
from safeguard_spark.policy.layout import policy_refs, stray_files
from safeguard_spark.policy.lock import Lock, LockStatus, load_lock, lock_path
from safeguard_spark.policy.ref import no_policies_error, policy_file, policy_names, unknown_name_error
from safeguard_spark.terminal import aligned, as_lines
from safeguard_spark.tracking.registry import Registry

STATE = {
    LockStatus.unpublished: "not published",
    LockStatus.same: "published",
    LockStatus.document_changed: "published, front matter changed",
    LockStatus.labeler_changed: "published, labeler changed",
    LockStatus.changed: "CHANGED SINCE PUBLISHED",
}


class Listed(NamedTuple):
    """One version. `standing` is the LockStatus, or `unreadable`, or `missing` if only the lock has the version.

    `cases` is None if there is no readable cases file.
    """

    ref: str
    standing: str
    aliases: tuple[str, ...]
    rules: int
    cases: int | None
    description: str


def list_versions(config: RunConfig, name: str | None = None) -> list[Listed]:
    """The versions of all policies, or of one. Raises PolicyError if no policy has that name, or without a folder."""
    if not config.policies.is_dir():
        raise no_policies_error(config.policies)
    lock = load_lock(lock_path(config.policies))
    all_refs = sorted({*policy_refs(config.policies), *lock.pins}, key=ref_key)
    refs = [ref for ref in all_refs if name in (None, ref.partition("@")[0])]
    if name and not refs:
        raise unknown_name_error(name, config.policies, policy_names(config.policies))
    registry = Registry.of(config)
    names = dict.fromkeys(ref.partition("@")[0] for ref in refs)
    aliases = registry.all_aliases(names) if registry.exists else {}
    return [_listed(ref, config, lock, aliases.get(ref.partition("@")[0], {})) for ref in refs]


def strays_text(config: RunConfig, name: str | None = None) -> str:
    """For people: one line for each file that is meant to be a policy, and is not listed."""
    strays = [stray for stray in stray_files(config.policies) if name is None or name in stray.path.parts]
    return "\n".join(f"{stray}." for stray in strays)


def listing_text(versions: list[Listed]) -> str:
    """For people: one line per version."""
    if not versions:
        return "No policies yet. Create one: safeguard new NAME\n"
    rows = [("policy", "state", "aliases", "rules", "cases", "description")]
    for item in versions:
        cases = "-" if item.cases is None else str(item.cases)
        state = STATE.get(LockStatus(item.standing)) if item.standing in list(LockStatus) else item.standing
        rows.append((item.ref, state or "", ", ".join(item.aliases) or "-", str(item.rules), cases, item.description))
    return as_lines([*aligned(rows, range(6)), ""])


def _listed(ref: str, config: RunConfig, lock: Lock, aliases: dict[str, str]) -> Listed:
    name, _, version = ref.partition("@")
    file = policy_file(config.policies, name, version)
    if not file.is_file():
        return Listed(ref, "missing", (), 0, None, f"published, but {file} does not exist")
    try:
        policy = load_policy(file)
    except PolicyError:
        return Listed(ref, "unreadable", (), 0, None, f"safeguard check {file}")
    try:
        cases = len(load_cases(cases_path(file))) if cases_path(file).is_file() else None
    except PolicyError:
        cases = None
    names = tuple(alias for alias, tag in aliases.items() if tag == version)
    return Listed(ref, lock.status(policy).value, names, len(policy.rules), cases, policy.description)
