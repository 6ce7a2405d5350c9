"""Policy lock: `policies/lock.json` pins what was published, so that a published version cannot change unnoticed.

    {"lock": 1, "policies": {"marketplace@1.0.0": {"document_hash": "…", "policy_hash": "…"}}}

A version whose policy hash differs from the lock is refused everywhere: its labels would change their meaning. A
version where only the document hash differs (owner, description, gate) still gives the same labels.
"""

import json
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from safeguard_spark.errors import PolicyError
from safeguard_spark.keys import sha256
from safeguard_spark.policy.document import Policy, ref_key

LOCK_FILE = "lock.json"
FORMAT = 1


class Pin(NamedTuple):
    """The two hashes of a published version."""

    policy_hash: str
    document_hash: str


class LockStatus(StrEnum):
    """What the lock says about a policy."""

    unpublished = "unpublished"
    same = "same"
    document_changed = "document_changed"  # in a way that changes no label
    changed = "changed"


@dataclass(frozen=True)
class Lock:
    """Published versions by `name@version`."""

    pins: Mapping[str, Pin]

    @property
    def lock_hash(self) -> str:
        """Lower-case hex SHA-256 over everything that is pinned."""
        return sha256({ref: pin._asdict() for ref, pin in self.pins.items()})

    def status(self, policy: Policy) -> LockStatus:
        """Whether a policy is what was published under its name and version."""
        pin = self.pins.get(policy.ref)
        if pin is None:
            return LockStatus.unpublished
        if pin.policy_hash != policy.policy_hash:
            return LockStatus.changed
        return LockStatus.same if pin.document_hash == policy.document_hash else LockStatus.document_changed

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
            lock = Lock({**lock.pins, policy.ref: Pin(policy.policy_hash, policy.document_hash)})
        return lock


def lock_path(folder: Path) -> Path:
    """The lock file of a policies folder."""
    return folder / LOCK_FILE


def load_lock(path: Path) -> Lock:
    """Read a lock file; without a file the lock is empty. Raises PolicyError."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if value.get("lock") != FORMAT:
            raise PolicyError(f"Lock {path} has format {value.get('lock')!r}; this version reads format {FORMAT}.")
        return Lock({ref: Pin(pin["policy_hash"], pin["document_hash"]) for ref, pin in value["policies"].items()})
    except FileNotFoundError:
        return Lock({})
    except OSError as error:
        raise PolicyError(f"Lock {path} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PolicyError(f"Lock {path} is damaged; restore it from version control.") from error


def save_lock(lock: Lock, path: Path) -> None:
    """Write a lock atomically, sorted for small diffs. Raises PolicyError."""
    value = {"lock": FORMAT, "policies": {ref: lock.pins[ref]._asdict() for ref in sorted(lock.pins, key=ref_key)}}
    try:
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, prefix=".lock-", delete=False) as file:
            file.write(json.dumps(value, indent=2) + "\n")
        Path(file.name).chmod(0o644)
        Path(file.name).replace(path)
    except OSError as error:
        raise PolicyError(f"Lock {path} cannot be written: {error.strerror}.") from error
