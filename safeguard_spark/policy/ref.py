"""Policy references as people write them (a file, `name@version` or `name@alias`), and the files they refer to."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from safeguard_spark.errors import PolicyError
from safeguard_spark.policy.document import VERSION, version_key
from safeguard_spark.policy.layout import POLICY_FILE, policy_refs, stray_files
from safeguard_spark.suggest import closest_match


class Ref(NamedTuple):
    """A reference that is not a file: `tag` is a version, an alias, or empty for a name alone."""

    name: str
    tag: str

    @property
    def is_version(self) -> bool:
        """Whether the tag is a version rather than an alias."""
        return re.match(VERSION, self.tag) is not None


def read_ref(text: str) -> Path | Ref:
    """The file of a reference, or its name and tag. Raises PolicyError for a path without a policy."""
    path = Path(text)
    if path.is_file():
        return path
    if (path / POLICY_FILE).is_file():
        return path / POLICY_FILE
    if "/" in text or "\\" in text or path.suffix in (".md", ".txt"):
        what = "holds no policy.md" if path.is_dir() else "does not exist"
        raise PolicyError(f"{text} {what}. Name a policy file, or a policy as name@version.")
    name, _, tag = text.partition("@")
    return Ref(name, tag)


def policy_file(folder: Path, name: str, version: str) -> Path:
    """The path of a version's file."""
    return folder / name / version / POLICY_FILE


def locate_policy(text: str, folder: Path) -> Path:
    """The file of a reference; a name alone means the newest version. Raises PolicyError."""
    ref = read_ref(text)
    if isinstance(ref, Path):
        return ref
    versions = versions_of(folder, ref.name)
    if not versions:
        raise unknown_name_error(ref.name, folder, policy_names(folder))
    if ref.tag and ref.tag not in versions:
        raise unknown_version_error(ref, versions, str(folder))
    return policy_file(folder, ref.name, ref.tag or versions[-1])


def all_policy_files(folder: Path) -> list[Path]:
    """The files of every version below a folder, oldest version first. Raises PolicyError if there is none."""
    files = [policy_file(folder, *ref.partition("@")[::2]) for ref in policy_refs(folder)]
    if not files:
        raise no_policies_error(folder)
    return files


def policy_names(folder: Path) -> list[str]:
    """The names of the policies below a folder."""
    return list(dict.fromkeys(ref.partition("@")[0] for ref in policy_refs(folder)))


def versions_of(folder: Path, name: str) -> list[str]:
    """The versions of a policy below a folder, oldest first."""
    return [tag for policy, _, tag in (ref.partition("@") for ref in policy_refs(folder)) if policy == name]


def require_distinct_name(name: str, existing: Iterable[str]) -> None:
    """Raise PolicyError if the name of a policy differs from an existing one in upper and lower case only.

    Some file systems take the two for one folder, and so do readers.
    """
    for other in existing:
        if other != name and other.casefold() == name.casefold():
            raise PolicyError(
                f"There is a policy {other}, and {name} differs from it only in upper and lower case. Choose "
                "another name."
            )


def no_policies_error(folder: Path) -> PolicyError:
    """An error for a folder without a policy."""
    what = "holds no policies" if folder.is_dir() else "does not exist"
    return PolicyError(
        f"The policies folder {folder} {what}{_from_here(folder)}. Create a policy with `safeguard new NAME`, or give "
        "--policies DIR." + _strays_words(folder)
    )


def _from_here(folder: Path) -> str:
    """Where a relative folder was looked for, if it is not there: paths count from the current folder."""
    return "" if folder.is_absolute() or folder.is_dir() else f" in {Path.cwd()}"


def unknown_name_error(name: str, folder: Path, existing: Iterable[str]) -> PolicyError:
    """An error for an unknown name: it suggests the most similar name, or lists all there are."""
    names = sorted(set(existing))
    if not folder.is_dir():
        return PolicyError(
            f"There is no policy {name}: the policies folder {folder} does not exist{_from_here(folder)}. Create one "
            f"with `safeguard new {name}`, or give --policies DIR."
        )
    hint = f"Policies: {', '.join(names) or 'none'}."
    if match := closest_match(name, names):
        hint = f"Did you mean {match} ({', '.join(versions_of(folder, match)) or 'published, not a file here'})?"
    return PolicyError(f"There is no policy {name} in {folder}. {_strays_words(folder, name).strip() or hint}")


def unknown_version_error(ref: Ref, existing: Iterable[str], where: str) -> PolicyError:
    """An error for a version that does not exist: it lists the existing ones."""
    kind = "version" if ref.is_version else "version or alias"
    versions = sorted(set(existing), key=version_key)
    return PolicyError(f"Policy {ref.name} has no {kind} {ref.tag} in {where}. Versions: {', '.join(versions)}.")


def _strays_words(folder: Path, name: str = "") -> str:
    """Which files are no policies because of their place or name, as a sentence behind another; empty if none is."""
    strays = [stray for stray in stray_files(folder) if not name or name in stray.path.parts]
    return f" {strays[0]}." if strays else ""
