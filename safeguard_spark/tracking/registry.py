"""Policy registry: published versions in MLflow's Prompt Registry, and what a reference resolves to.

A published version is one MLflow prompt version whose template is the whole policy document. Its tags: `version`
(semantic), `policy_hash`, `document_hash`, `owner`, `check` (what `safeguard check` said) and `lock_hash` (of the lock
it was published with). MLflow numbers prompt versions itself and keeps identical texts apart, so versions are found by
tag and compared by hash, never by number.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import PolicyError
from safeguard_spark.policy import ref as policy_ref
from safeguard_spark.policy.document import Policy, load_policy, parse_policy, version_key
from safeguard_spark.policy.lock import Lock, load_lock, lock_path
from safeguard_spark.policy.ref import (
    POLICY_FILE,
    Ref,
    policy_file,
    policy_names,
    unknown_name_error,
    unknown_version_error,
)
from safeguard_spark.redact import without_password
from safeguard_spark.tracking import runs

MISSING = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # the second is a sqlite store's answer to an alias
LATEST = "latest"  # MLflow's own: what was registered last, be it an old version published again


class Alias(StrEnum):
    """What a published version may be to the platform: not yet in use, run beside the active one, in force."""

    draft = "draft"
    shadow = "shadow"
    active = "active"


class Entry(NamedTuple):
    """A published version: MLflow's number, the tags, and the document."""

    number: int
    tags: dict[str, str]
    document: str

    @property
    def version(self) -> str:
        """The semantic version, empty for a prompt that is no policy."""
        return self.tags.get("version", "")


class Published(NamedTuple):
    """What publishing one policy did. `number` is MLflow's."""

    ref: str
    number: int
    is_new: bool


@dataclass(frozen=True)
class Registry:
    """MLflow's Prompt Registry at an address. Nothing is imported or reached before the first question."""

    uri: str

    @classmethod
    def of(cls, config: RunConfig) -> "Registry":
        """The registry of a configuration."""
        return cls(runs.registry_uri(config))

    @property
    def exists(self) -> bool:
        """Whether anything may have been published; False needs neither MLflow nor a connection."""
        return runs.registry_exists(self.uri)

    @property
    def shown(self) -> str:
        """The address for people."""
        return f"MLflow at {without_password(self.uri)}"

    @cached_property
    def _client(self) -> Any:
        runs.try_server(self.uri)
        return runs.mlflow_client(self.uri)

    def _ask(self, method: str, *given: Any, **named: Any) -> Any:
        """Call the client; None if what is asked for does not exist. Raises ConfigError."""
        client = self._client
        with runs.answering(self.uri):
            try:
                return getattr(client, method)(*given, **named)
            except Exception as error:
                if getattr(error, "error_code", None) in MISSING and method.startswith(("get_", "search_")):
                    return None
                raise

    def names(self) -> list[str]:
        """The names of all policies that were published."""
        return sorted(prompt.name for prompt in self._pages("search_prompts") if "policy_hash" in prompt.tags)

    def entries(self, name: str) -> list[Entry]:
        """Everything published under a name, the latest first."""
        found = [_entry(version) for version in self._pages("search_prompt_versions", name)]
        return sorted((entry for entry in found if entry.version), key=lambda entry: -entry.number)

    def _pages(self, method: str, *given: Any) -> list[Any]:
        found: list[Any] = []
        token: str | None = None
        while True:
            page = self._ask(method, *given, max_results=200, page_token=token)
            found.extend(page or ())
            token = getattr(page, "token", None)
            if not token:
                return found

    def entry(self, ref: Ref) -> Entry | None:
        """What a version or an alias stands for, or None."""
        if ref.is_version:
            return next((entry for entry in self.entries(ref.name) if entry.version == ref.tag), None)
        if ref.tag == LATEST:
            return None
        # A search leaves aliases out, so each is asked for. Asking the store itself also passes by MLflow's cache.
        found = self._ask("get_prompt_version_by_alias", ref.name, ref.tag)
        return _entry(found) if found is not None else None

    def aliases(self, name: str) -> dict[str, str]:
        """Alias to version, of the aliases that are set."""
        found = {alias.value: self.entry(Ref(name, alias)) for alias in Alias}
        return {alias: entry.version for alias, entry in found.items() if entry is not None}

    def publish(self, document: str, check: str, lock_hash: str) -> Published:
        """Publish a policy document, unless it is there already. Raises PolicyError if the version is, and differs.

        A document whose front matter alone changed is published again, and aliases of the version follow it.
        """
        policy = parse_policy(document)
        earlier = self.entry(Ref(policy.name, policy.version))
        if earlier is not None:
            published = self.policy(policy.name, earlier)
            if published.policy_hash != policy.policy_hash:
                raise PolicyError(
                    f"{policy.ref} is in {self.shown} with policy hash {published.policy_hash[:12]}, and the file has "
                    f"{policy.policy_hash[:12]}. A published version cannot change: bump the version, or restore the "
                    "text."
                )
            if published.document_hash == policy.document_hash:
                if earlier.tags.get("check") != check:
                    self._ask("set_prompt_version_tag", policy.name, earlier.number, "check", check)
                return Published(policy.ref, earlier.number, False)
        tags = {
            "version": policy.version,
            "policy_hash": policy.policy_hash,
            "document_hash": policy.document_hash,
            "owner": policy.owner or "nobody",
            "check": check,
            "lock_hash": lock_hash,
        }
        made = self._ask("register_prompt", policy.name, document, commit_message=policy.ref, tags=tags)
        if earlier is not None:
            for alias, version in self.aliases(policy.name).items():
                if version == policy.version:
                    self._ask("set_prompt_alias", policy.name, alias, int(made.version))
        return Published(policy.ref, int(made.version), True)

    def set_alias(self, name: str, alias: str, version: str) -> bool:
        """Let an alias stand for a published version; False if it does already. Raises PolicyError if there is none."""
        entry = self.entry(Ref(name, version))
        if entry is None:
            raise PolicyError(f"{name}@{version} is not in {self.shown}. Publish it first.")
        current = self.entry(Ref(name, alias))
        if current is not None and current.number == entry.number:
            return False
        self._ask("set_prompt_alias", name, alias, entry.number)
        return True

    def policy(self, name: str, entry: Entry) -> Policy:
        """The policy of a published version. Raises PolicyError if it is none of ours or was tampered with."""
        try:
            policy = parse_policy(entry.document)
        except PolicyError as error:
            raise PolicyError(f"Prompt {name} version {entry.number} in {self.shown} is no policy: {error}.") from error
        if (policy.name, policy.version, policy.policy_hash) != (name, entry.version, entry.tags.get("policy_hash")):
            raise PolicyError(
                f"Prompt {name} version {entry.number} in {self.shown} is tagged {name}@{entry.version} and holds "
                f"{policy.ref} with another hash. Publish the version again from its file."
            )
        return policy


def resolve(ref: str, config: RunConfig) -> Policy:
    """The policy of a reference: a file, `name@version`, or `name@alias`. Raises PolicyError, ConfigError.

    Call it once, on the driver: an alias may move while a run lasts. What files answer needs no registry, so a version
    that the lock pins is checked against the lock alone; aliases, and versions that are not pinned or not in the
    folder, are asked of the registry, and must then agree with the folder and the lock.
    """
    named = policy_ref.read_ref(ref)
    lock = load_lock(lock_path(config.policies))
    if isinstance(named, Path):
        return lock.verify(_load(named))
    if not named.tag:
        raise _which_version(named, config)
    file = policy_file(config.policies, named.name, named.tag)
    has_file = named.is_version and file.is_file()
    if has_file and ref in lock.pins:
        return lock.verify(_load(file))
    registry = Registry.of(config)
    entry = registry.entry(named) if registry.exists else None
    if entry is None and has_file:
        return _load(file)
    if entry is None:
        raise _unknown(named, config, registry)
    return _agreed(registry, named, entry, config.policies, lock)


def _load(file: Path) -> Policy:
    """A policy file. One that lies as published policies do must agree with its folders and with the lock there."""
    policy = load_policy(file)
    version, name, folder = file.absolute().parents[:3]
    if file.name != POLICY_FILE or not Ref(name.name, version.name).is_version:
        return policy
    if policy.ref != f"{name.name}@{version.name}":
        raise PolicyError(
            f"Policy {file} calls itself {policy.ref}; its folders say {name.name}@{version.name}. Make them agree."
        )
    return load_lock(lock_path(folder)).verify(policy)


def _agreed(registry: Registry, named: Ref, entry: Entry, folder: Path, lock: Lock) -> Policy:
    """The published policy, if file and lock have the same."""
    published = registry.policy(named.name, entry)
    file = policy_file(folder, named.name, published.version)
    pin = lock.pins.get(published.ref)
    here = load_policy(file).policy_hash if file.is_file() else published.policy_hash
    pinned = pin.policy_hash if pin is not None else published.policy_hash
    if here == pinned == published.policy_hash:
        return published
    sides = [f"{registry.shown} (prompt version {entry.number}) has policy hash {published.policy_hash[:12]}"]
    if file.is_file():
        sides.append(f"{file} has {here[:12]}")
    if pin is not None:
        sides.append(f"{lock_path(folder)} pins {pinned[:12]}")
    raise PolicyError(
        f"{published.ref} is not the same everywhere: {', '.join(sides)}. A published version cannot change: restore "
        "what was published, and give other text a new version."
    )


def _which_version(named: Ref, config: RunConfig) -> PolicyError:
    known = policy_ref.versions_of(config.policies, named.name)
    if not known:
        return unknown_name_error(named.name, config.policies, policy_names(config.policies))
    newest, *older = [f"{named.name}@{version}" for version in reversed(known)]
    choice = ", ".join([f"{newest} (the newest)", *older])
    return PolicyError(f"Policy {named.name} needs a version: {choice}; or an alias, such as {named.name}@active.")


def _unknown(named: Ref, config: RunConfig, registry: Registry) -> PolicyError:
    """The error for a reference that neither the folder nor the registry knows."""
    folder = config.policies
    published = [entry.version for entry in registry.entries(named.name)] if registry.exists else []
    known = [*policy_ref.versions_of(folder, named.name), *published]
    if not known:
        names = [*policy_names(folder), *(registry.names() if registry.exists else ())]
        return unknown_name_error(named.name, folder, names)
    if named.is_version:
        return unknown_version_error(named, known, f"{folder} or {registry.shown}" if published else str(folder))
    aliases = registry.aliases(named.name) if published else {}
    listed = ", ".join(f"{alias} is {version}" for alias, version in aliases.items()) or "none is set"
    newest = max(known, key=version_key)
    # publish sets the usual aliases; anything else may be a slip of the keyboard
    wanted = named.tag if named.tag in list(Alias) else Alias.active.value
    return PolicyError(
        f"Policy {named.name} has no alias {named.tag} (aliases: {listed}). Set one with `safeguard publish "
        f"{named.name}@{newest} --alias {wanted}`, or name a version: {', '.join(sorted(set(known), key=version_key))}."
    )


def _entry(version: Any) -> Entry:
    return Entry(int(version.version), dict(version.tags or {}), str(version.template))
