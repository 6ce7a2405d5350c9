"""Policy lock: `policies/lock/` pins what was published, so that a published version cannot change unnoticed.

One file for each version, so that two branches that publish different versions merge without a conflict:

    policies/lock/marketplace@1.0.0.json
    {"lock": 2, "policy_hash": "…", "document_hash": "…", "labeler": {"effort": "low", "max_tokens": null}}

A version whose policy hash differs from the lock is refused everywhere: its labels would change their meaning. A
version whose `labeler` differs has the same text, but jobs that set no effort and no token limit of their own label
everything again. A version where only the document hash differs otherwise (owner, description, gate) has the same
labels.

Releases before this one wrote all versions to `policies/lock.json`, which is still read; a file in `policies/lock/`
takes precedence over it.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from safeguard_spark.errors import PolicyError
from safeguard_spark.keys import sha256
from safeguard_spark.policy.document import LabelerDefaults, Policy, ref_key
from safeguard_spark.policy.yaml_problems import CONFLICT
from safeguard_spark.whole_files import write_files

LOCK_FOLDER, OLD_LOCK_FILE = "lock", "lock.json"
FORMAT, OLD_FORMAT = 2, 1
RESTORE = "Restore it from version control"


class Pin(NamedTuple):
    """What is pinned of a published version. `labeler` is None in an entry of an older release."""

    policy_hash: str
    document_hash: str
    labeler: LabelerDefaults | None = None


class LockStatus(StrEnum):
    """What the lock says about a policy."""

    unpublished = "unpublished"
    same = "same"
    document_changed = "document_changed"  # not the text, nor, as far as is pinned, the labeler
    labeler_changed = "labeler_changed"
    changed = "changed"


@dataclass(frozen=True)
class Lock:
    """Published versions by `name@version`."""

    pins: Mapping[str, Pin]

    @property
    def lock_hash(self) -> str:
        """Lower-case hex SHA-256 over both hashes of everything that is pinned."""
        hashes = {ref: (pin.policy_hash, pin.document_hash) for ref, pin in self.pins.items()}
        return sha256({ref: {"policy_hash": text, "document_hash": all_} for ref, (text, all_) in hashes.items()})

    def status(self, policy: Policy) -> LockStatus:
        """Whether a policy is what was published under its name and version."""
        pin = self.pins.get(policy.ref)
        if pin is None:
            return LockStatus.unpublished
        if pin.policy_hash != policy.policy_hash:
            return LockStatus.changed
        if pin.document_hash == policy.document_hash:
            return LockStatus.same
        is_other_labeler = pin.labeler is not None and pin.labeler != policy.labeler
        return LockStatus.labeler_changed if is_other_labeler else LockStatus.document_changed

    def verify(self, policy: Policy) -> Policy:
        """Return the policy. Raises PolicyError if it is not what was published."""
        if self.status(policy) is LockStatus.changed:
            published = self.pins[policy.ref].policy_hash[:12]
            raise PolicyError(
                f"{policy.ref} was published with policy hash {published}, and the file now has "
                f"{policy.policy_hash[:12]}. A published version cannot change: bump the version (`safeguard new "
                f"{policy.name}@VERSION`), or restore the text."
            )
        return policy

    def with_policies(self, policies: Iterable[Policy]) -> "Lock":
        """A lock that pins these policies too. Raises PolicyError as `verify` does."""
        lock = self
        for policy in policies:  # one by one: two files may claim to be the same version
            lock.verify(policy)
            if lock.status(policy) is not LockStatus.same:
                pin = Pin(policy.policy_hash, policy.document_hash, policy.labeler)
                lock = Lock({**lock.pins, policy.ref: pin})
        return lock


class LockError(PolicyError):
    """A file of a lock that cannot be read: what is wrong with it, and what to do."""

    def __init__(self, file: Path, problem: str, hint: str) -> None:
        super().__init__(f"Lock {file} {problem}. {hint}.")
        self.file, self.problem, self.hint = file, problem, hint


def lock_path(folder: Path) -> Path:
    """The lock of a policies folder."""
    return folder / LOCK_FOLDER


def lock_files(path: Path) -> list[Path]:
    """The files of a lock, the one that older releases wrote first."""
    return [file for file in [path.with_name(OLD_LOCK_FILE), *sorted(path.glob("*@*.json"))] if file.is_file()]


def load_lock(path: Path) -> Lock:
    """Read a lock; without a file it is empty. Raises PolicyError."""
    pins: dict[str, Pin] = {}
    for file in lock_files(path):
        is_old = file.name == OLD_LOCK_FILE
        value = _read(file, OLD_FORMAT if is_old else FORMAT)
        try:
            entries = value["policies"] if is_old else {file.name.removesuffix(".json"): value}
            pins |= {ref: _pin(entry) for ref, entry in entries.items()}
        except (KeyError, TypeError, AttributeError, ValidationError) as error:
            raise LockError(file, "is damaged", RESTORE) from error
    return Lock(pins)


def _pin(entry: dict[str, Any]) -> Pin:
    labeler = entry.get("labeler")
    known = None if labeler is None else LabelerDefaults.model_validate(labeler)
    return Pin(entry["policy_hash"], entry["document_hash"], known)


def _read(file: Path, file_format: int) -> dict[str, Any]:
    """The JSON object in a file of a lock. Raises PolicyError."""
    try:
        text = file.read_text(encoding="utf-8")
        if CONFLICT.search(text):
            raise LockError(file, "has the marks of a merge conflict", _conflict_advice(file))
        value = json.loads(text)
        if value.get("lock") != file_format:
            problem = f"has format {value.get('lock')!r}, and this release reads format {file_format}"
            raise LockError(file, problem, "Install the release that wrote it")
    except OSError as error:
        raise LockError(file, f"cannot be read: {error.strerror}", "Correct the rights of the file") from error
    except (ValueError, AttributeError, RecursionError) as error:
        raise LockError(file, "is damaged", RESTORE) from error
    return dict(value)


def _conflict_advice(file: Path) -> str:
    if file.name == OLD_LOCK_FILE:
        return (
            "Take either side's file (`git checkout --ours` or `--theirs`), then run `safeguard publish`: it pins the "
            "other side's versions again"
        )
    ref = file.name.removesuffix(".json")
    return (
        f"Two branches published {ref} with different texts. Keep the policy.md and the lock entry of one branch, and "
        "give the other text a new version"
    )


def save_lock(lock: Lock, path: Path) -> None:
    """Write the entries that the lock on disk does not have, each atomically. Raises PolicyError."""
    stored = load_lock(path).pins
    for ref in sorted(lock.pins, key=ref_key):
        if stored.get(ref) != lock.pins[ref]:
            pin = lock.pins[ref]
            labeler = pin.labeler and pin.labeler.model_dump(mode="json")
            _write(path / f"{ref}.json", {"lock": FORMAT, **pin._asdict(), "labeler": labeler})


def _write(file: Path, value: dict[str, Any]) -> None:
    try:
        file.parent.mkdir(exist_ok=True)
        write_files({file: json.dumps(value, indent=2) + "\n"}, mode=0o644)
    except OSError as error:
        raise PolicyError(f"Lock {file} cannot be written: {error.strerror}.") from error
