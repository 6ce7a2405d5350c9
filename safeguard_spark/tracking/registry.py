"""Policy registry: published versions in MLflow's Prompt Registry, and what a reference resolves to.

A published version is one MLflow prompt version whose template is the whole policy document. Its tags: `version`
(semantic), `policy_hash`, `document_hash`, `owner`, `published_by` (a user's name), `check` (the result of `safeguard
check`) and `lock_hash` (of the lock it was published with). MLflow numbers prompt versions itself and keeps identical
texts apart, so versions are found by tag and compared by hash, never by number.

On Databricks a prompt is an object of Unity Catalog: its name begins with a schema's, and a search is in one schema.
"""

import getpass
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import ConfigError, PolicyError, SafeguardError
from safeguard_spark.extras import require
from safeguard_spark.policy.alias import Alias
from safeguard_spark.policy.document import Policy, load_policy, parse_policy, version_key
from safeguard_spark.policy.layout import POLICY_FILE
from safeguard_spark.policy.lock import Lock, load_lock, lock_path
from safeguard_spark.policy.ref import (
    Ref,
    policy_file,
    policy_names,
    read_ref,
    unknown_name_error,
    unknown_version_error,
    versions_of,
)
from safeguard_spark.redact import without_password
from safeguard_spark.tracking.aliases import MISSING, Aliases, read_aliases
from safeguard_spark.tracking.store import answering, mlflow_client, registry_exists, registry_uri, try_server

LATEST = "latest"  # MLflow's own alias: what was registered last, even if that is an old version published again
PAGE_SIZE = 200  # entries per search request
DATABRICKS = "databricks"  # what its addresses begin with
NO_SCHEMA = (
    "On Databricks policies are published in a schema of Unity Catalog, and none is named. Set "
    "tracking.prompt_schema=CATALOG.SCHEMA."
)


class Entry(NamedTuple):
    """A published version: MLflow's number, the tags, the document, and when it was published (UTC), if known."""

    number: int
    tags: dict[str, str]
    document: str
    published_at: datetime | None

    @property
    def version(self) -> str:
        """The semantic version, empty for a prompt that is no policy."""
        return self.tags.get("version", "")


class Published(NamedTuple):
    """The result of publishing one policy. `number` is MLflow's prompt version."""

    ref: str
    number: int
    is_new: bool


@dataclass(frozen=True)
class Registry:
    """MLflow's Prompt Registry at an address. MLflow is imported and the server contacted at the first request.

    `schema` is that of the prompts in Unity Catalog (`CATALOG.SCHEMA`), which a registry on Databricks needs.
    """

    uri: str
    schema: str | None = None

    @classmethod
    def of(cls, config: RunConfig) -> "Registry":
        """The registry of a configuration."""
        uri = registry_uri(config)
        return cls(uri, config.tracking.prompt_schema if uri.startswith(DATABRICKS) else None)

    @property
    def exists(self) -> bool:
        """Whether anything may have been published; False needs neither MLflow nor a connection."""
        return registry_exists(self.uri) and not self.lacks_schema

    @property
    def lacks_schema(self) -> bool:
        """Whether this is a registry on Databricks without the schema in which policies are published."""
        return self.uri.startswith(DATABRICKS) and self.schema is None

    @property
    def display_name(self) -> str:
        """The address for messages, without a password."""
        return f"MLflow at {without_password(self.uri)}"

    @cached_property
    def _client(self) -> Any:
        require("mlflow")
        if self.lacks_schema:
            raise ConfigError(NO_SCHEMA)
        try_server(self.uri)
        return mlflow_client(self.uri)

    def _prompt(self, name: str) -> str:
        """The name of a policy's prompt."""
        return f"{self.schema}.{name}" if self.schema else name

    def names(self) -> list[str]:
        """The names of all published policies; on Databricks, of all prompts in the schema."""
        where = "catalog = '{}' AND schema = '{}'".format(*self.schema.split(".")) if self.schema else None
        prompts = self._all_pages(lambda size, token: self._client.search_prompts(where, size, token))
        if self.schema:  # a search there returns no tags
            return sorted(prompt.name.removeprefix(f"{self.schema}.") for prompt in prompts)
        return sorted(prompt.name for prompt in prompts if "policy_hash" in prompt.tags)

    def entries(self, name: str) -> list[Entry]:
        """Everything published under a name, the latest first."""
        prompt = self._prompt(name)
        versions = self._all_pages(lambda size, token: self._client.search_prompt_versions(prompt, size, token))
        entries = [_entry(version) for version in versions]
        return sorted((entry for entry in entries if entry.version), key=lambda entry: -entry.number)

    def _all_pages(self, search: Callable[[int, str | None], Any]) -> list[Any]:
        """Everything a search returns; empty if what it searches in does not exist."""
        with answering(self.uri):
            _ = self._client  # before the import below, which it keeps quiet
            from mlflow.utils import get_results_from_paginated_fn

            return _or_none(lambda: get_results_from_paginated_fn(search, PAGE_SIZE)) or []

    def entry(self, ref: Ref) -> Entry | None:
        """The published version that a version or an alias names, or None."""
        if ref.is_version:
            return next((entry for entry in self.entries(ref.name) if entry.version == ref.tag), None)
        if ref.tag == LATEST:
            return None
        # A search does not return aliases, so each is requested. The store's own method also bypasses MLflow's cache.
        with answering(self.uri):
            version = _or_none(lambda: self._client.get_prompt_version_by_alias(self._prompt(ref.name), ref.tag))
        return _entry(version) if version is not None else None

    def aliases(self, name: str) -> dict[str, str]:
        """Alias to version, of the aliases that are set."""
        entries = {alias.value: self.entry(Ref(name, alias)) for alias in Alias}
        return {alias: entry.version for alias, entry in entries.items() if entry is not None}

    def all_aliases(self, names: Iterable[str]) -> Aliases:
        """Alias to version of several policies: without MLflow's client, if they can be read so."""
        names = tuple(names)
        aliases = read_aliases(self.uri, names)
        return {name: self.aliases(name) for name in names} if aliases is None else aliases

    def publish(self, document: str, check: str, lock_hash: str) -> Published:
        """Publish a policy document unless it is published already. Raises PolicyError if its version is, but differs.

        A document of which only the front matter changed is published again, and aliases of the version follow it.
        """
        policy = parse_policy(document)
        prompt = self._prompt(policy.name)
        earlier = self.entry(Ref(policy.name, policy.version))
        if earlier is not None:
            published = self.policy(policy.name, earlier)
            if published.policy_hash != policy.policy_hash:
                raise PolicyError(
                    f"{policy.ref} is in {self.display_name} with policy hash {published.policy_hash[:12]}, and the "
                    f"file has {policy.policy_hash[:12]}. A published version cannot change: bump the version, or "
                    "restore the text."
                )
            if published.document_hash == policy.document_hash:
                if earlier.tags.get("check") != check:
                    with answering(self.uri):
                        self._client.set_prompt_version_tag(prompt, earlier.number, "check", check)
                return Published(policy.ref, earlier.number, False)
        tags = {
            "version": policy.version,
            "policy_hash": policy.policy_hash,
            "document_hash": policy.document_hash,
            "owner": policy.owner or "nobody",
            "published_by": user_name(),
            "check": check,
            "lock_hash": lock_hash,
        }
        with answering(self.uri):
            number = int(self._client.register_prompt(prompt, document, policy.ref, tags).version)
            for alias, version in self.aliases(policy.name).items() if earlier else ():
                if version == policy.version:
                    self._client.set_prompt_alias(prompt, alias, number)
        return Published(policy.ref, number, True)

    def set_alias(self, name: str, alias: str, version: str) -> bool:
        """Point an alias at a published version; False if it does already. Raises PolicyError if there is none."""
        entry = self.entry(Ref(name, version))
        if entry is None:
            raise PolicyError(f"{name}@{version} is not in {self.display_name}. Publish it first.")
        current = self.entry(Ref(name, alias))
        if current is not None and current.number == entry.number:
            return False
        with answering(self.uri):
            self._client.set_prompt_alias(self._prompt(name), alias, entry.number)
        return True

    def policy(self, name: str, entry: Entry) -> Policy:
        """The policy of a published version. Raises PolicyError if it is not a policy or differs from its tags."""
        try:
            policy = parse_policy(entry.document)
        except PolicyError as error:
            raise PolicyError(
                f"Prompt {name} version {entry.number} in {self.display_name} is not a policy: {error}."
            ) from error
        if (policy.name, policy.version, policy.policy_hash) != (name, entry.version, entry.tags.get("policy_hash")):
            raise PolicyError(
                f"Prompt {name} version {entry.number} in {self.display_name} is tagged {name}@{entry.version} and "
                f"holds {policy.ref} with another hash. Publish the version again from its file."
            )
        return policy


def published_entry(policy: Policy, config: RunConfig) -> Entry | None:
    """The registry's entry of exactly this document, or None. Raises ConfigError, PolicyError, TrackingError.

    A version in the folder that is not pinned was not published, which is known without MLflow.
    """
    is_in_folder = policy_file(config.policies, policy.name, policy.version).is_file()
    if is_in_folder and policy.ref not in load_lock(lock_path(config.policies)).pins:
        return None
    registry = Registry.of(config)
    entry = registry.entry(Ref(policy.name, policy.version)) if registry.exists else None
    return entry if entry and entry.tags.get("document_hash") == policy.document_hash else None


def user_name() -> str:
    """The name of this process's user, or its number where it has no name, as in many containers."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return str(os.getuid())


def resolve(ref: str, config: RunConfig) -> Policy:
    """The policy of a reference: a file, `name@version`, or `name@alias`. Raises PolicyError, ConfigError,
    TrackingError.

    Call it once, on the driver: an alias may move during a run. A version that has a file and a pin in the lock is
    checked against the lock alone, without the registry. Aliases, and versions that are not pinned or have no file, are
    looked up in the registry, and must then agree with the folder and the lock.
    """
    parsed = read_ref(ref)
    lock = load_lock(lock_path(config.policies))
    if isinstance(parsed, Path):
        return lock.verify(_load_file(parsed))
    if not parsed.tag:
        raise _version_missing_error(parsed, config)
    file = policy_file(config.policies, parsed.name, parsed.tag)
    has_file = parsed.is_version and file.is_file()
    if has_file and ref in lock.pins:
        return lock.verify(_load_file(file))
    registry = Registry.of(config)
    entry = registry.entry(parsed) if registry.exists else None
    if entry is None and has_file:
        return _load_file(file)
    if entry is None:
        raise _unknown_error(parsed, config, registry)
    return _verify_published(registry, parsed.name, entry, config.policies, lock)


def _load_file(file: Path) -> Policy:
    """A policy file. In a folder of published policies it must agree with the folder names and with the lock."""
    policy = load_policy(file)
    version, name, folder = file.absolute().parents[:3]
    if file.name != POLICY_FILE or not Ref(name.name, version.name).is_version:
        return policy
    if policy.ref != f"{name.name}@{version.name}":
        raise PolicyError(
            f"Policy {file} calls itself {policy.ref}; its folders say {name.name}@{version.name}. Make them agree."
        )
    return load_lock(lock_path(folder)).verify(policy)


def _verify_published(registry: Registry, name: str, entry: Entry, folder: Path, lock: Lock) -> Policy:
    """The published policy. Raises PolicyError unless file and lock, where they have it, have the same hash."""
    published = registry.policy(name, entry)
    file = policy_file(folder, name, published.version)
    pin = lock.pins.get(published.ref)
    file_hash = load_policy(file).policy_hash if file.is_file() else published.policy_hash
    pinned_hash = pin.policy_hash if pin is not None else published.policy_hash
    if file_hash == pinned_hash == published.policy_hash:
        return published
    sides = [f"{registry.display_name} (prompt version {entry.number}) has policy hash {published.policy_hash[:12]}"]
    if file.is_file():
        sides.append(f"{file} has {file_hash[:12]}")
    if pin is not None:
        sides.append(f"{lock_path(folder)} pins {pinned_hash[:12]}")
    raise PolicyError(
        f"{published.ref} is not the same everywhere: {', '.join(sides)}. A published version cannot change: restore "
        "what was published, and give other text a new version."
    )


def _version_missing_error(ref: Ref, config: RunConfig) -> PolicyError:
    """The error for a name without a version or an alias."""
    versions = versions_of(config.policies, ref.name)
    if not versions:
        return unknown_name_error(ref.name, config.policies, policy_names(config.policies))
    newest, *older = [f"{ref.name}@{version}" for version in reversed(versions)]
    choice = ", ".join([f"{newest} (the newest)", *older])
    return PolicyError(f"Policy {ref.name} needs a version: {choice}; or an alias, such as {ref.name}@active.")


def _unknown_error(ref: Ref, config: RunConfig, registry: Registry) -> SafeguardError:
    """The error for a reference that is neither in the folder nor in the registry."""
    if registry.lacks_schema and not ref.is_version:
        return ConfigError(NO_SCHEMA)
    folder = config.policies
    published = [entry.version for entry in registry.entries(ref.name)] if registry.exists else []
    versions = [*versions_of(folder, ref.name), *published]
    if not versions:
        names = [*policy_names(folder), *(registry.names() if registry.exists else ())]
        return unknown_name_error(ref.name, folder, names)
    if ref.is_version:
        return unknown_version_error(
            ref, versions, f"{folder} or {registry.display_name}" if published else str(folder)
        )
    aliases = registry.aliases(ref.name) if published else {}
    listed = ", ".join(f"{alias} is {version}" for alias, version in aliases.items()) or "none is set"
    newest = max(versions, key=version_key)
    choice = ", ".join(sorted(set(versions), key=version_key))
    command = f"publish {ref.name}@{newest} --alias {ref.tag}"
    if ref.tag == Alias.active:
        command = f"relabel promote {ref.name}@{newest}"
    other = f"set the alias: `safeguard {command}`"
    if ref.tag not in list(Alias):
        other = f"an alias: {', '.join(Alias)}"
    return PolicyError(
        f"Policy {ref.name} has no alias {ref.tag} (aliases: {listed}). Name a version: {choice}; or {other}."
    )


def _or_none(request: Callable[[], Any]) -> Any:
    """The answer to a request, or None if what it names does not exist."""
    try:
        return request()
    except Exception as error:
        if getattr(error, "error_code", None) in MISSING:
            return None
        raise


def _entry(version: Any) -> Entry:
    created = version.creation_timestamp  # Databricks' client leaves a protobuf Timestamp here
    milliseconds = created.ToMilliseconds() if hasattr(created, "ToMilliseconds") else created
    published_at = datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds else None
    return Entry(int(version.version), dict(version.tags or {}), str(version.template), published_at)
