"""Layout: which files of a policies folder are policies, and which only look like it.

One rule, for every command: a version is `<policies>/<name>/<version>/policy.md`, its version three numbers, with its
cases in `cases.yaml` next to it. A file with such a name anywhere else below the folder is a stray.
"""

import re
from pathlib import Path
from typing import NamedTuple

from safeguard_spark.policy.document import NAME, VERSION, ref_key

POLICY_FILE, CASES_FILE = "policy.md", "cases.yaml"
POLICY_LIKE = re.compile(r"policy(\.(md|markdown|txt|text|yaml|yml|docx?|md\.\w+))?", re.IGNORECASE)
CASES_LIKE = re.compile(r"cases?(\.(yaml|yml|json|txt|csv|yaml\.\w+))?", re.IGNORECASE)
NUMBERS = re.compile(r"v?\.?(\d+)(?:\.(\d+))?(?:\.(\d+))?", re.IGNORECASE)


class Stray(NamedTuple):
    """A file that no command reads, although its name says that it is meant to be: why, and what to do."""

    path: Path
    problem: str
    hint: str

    def __str__(self) -> str:
        return f"{self.path} is not read: {self.problem}; {self.hint}"


def policy_refs(folder: Path) -> list[str]:
    """Every `name@version` below `folder`, sorted, oldest version first."""
    files = [file for file in folder.glob(f"*/*/{POLICY_FILE}") if _in_place(file.relative_to(folder))]
    return sorted((f"{file.parent.parent.name}@{file.parent.name}" for file in files), key=ref_key)


def stray_files(folder: Path) -> list[Stray]:
    """The files below `folder` that are named like a policy or its cases, and are in no version's place."""
    strays = [_stray(file, folder) for file in sorted(folder.rglob("*")) if file.is_file()]
    return [stray for stray in strays if stray is not None]


def misnamed_cases(policy: Path) -> Stray | None:
    """The file next to a policy that is meant to be its cases and has another name; None if they are there."""
    files = (file for file in sorted(policy.parent.iterdir()) if CASES_LIKE.fullmatch(file.name))
    return next((stray for file in files if (stray := _stray(file, policy.parent))), None)


def is_hidden(relative: Path) -> bool:
    """Whether a path below a policies folder is hidden, so that no command reads it: `.drafts/…`."""
    return any(part.startswith(".") for part in relative.parts)


def _in_place(relative: Path) -> bool:
    """Whether a path below a policies folder is `<name>/<version>/…`."""
    parts = relative.parts
    return len(parts) == 3 and bool(re.match(NAME, parts[0]) and re.match(VERSION, parts[1]))


def _stray(file: Path, folder: Path) -> Stray | None:
    relative = file.relative_to(folder)
    if is_hidden(relative):
        return None
    for right, like in ((POLICY_FILE, POLICY_LIKE), (CASES_FILE, CASES_LIKE)):
        if file.name != right and like.fullmatch(file.name) and not file.with_name(right).exists():
            return Stray(file, f"the file must be named {right}", f"rename it {right}")
    if file.name != POLICY_FILE or _in_place(relative):
        return None
    return Stray(file, *_misplaced(relative.parts, folder))


def _misplaced(parts: tuple[str, ...], folder: Path) -> tuple[str, str]:
    place = f"a policy is {folder}/NAME/VERSION/{POLICY_FILE}"
    if len(parts) < 3:
        return (
            f"{place}, and the folder of the version is missing",
            f"move it to {folder}/{parts[0]}/1.0.0/{POLICY_FILE}",
        )
    if len(parts) > 3:
        *teams, _name, _version, _file = parts
        return (
            f"{place}, without folders between",
            f"move it up, or give each team a policies folder: --policies {folder.joinpath(*teams)}",
        )
    if not re.match(NAME, parts[0]):
        return f"{place}, and {parts[0]} is no name", "use letters, digits, `.`, `_` and `-` only"
    match = NUMBERS.fullmatch(parts[1])
    version = ".".join(str(int(part or 0)) for part in match.groups()) if match else "1.0.0"
    return f"{place}, and {parts[1]} is no version of three numbers", f"rename the folder, for example {version}"
