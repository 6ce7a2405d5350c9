"""Sets: the manifest of a golden set, which says where contents and answers are and which answer means what.

`sets/<name>/<version>/set.yaml`, or any file of that form:

    name: hatecheck
    version: "1.0"
    licence: CC-BY-4.0
    may_redistribute: true
    location: ./test_suite_cases.csv       # a file, a folder or URL that Spark reads, or a table's name
    sha256: ecf0dc1e…
    id_column: case_id
    text_column: test_case                 # or conversation_column
    mapping: {hate: "label_gold = 'hateful'"}
    slices: [functionality]
    download: The repository of the dataset (paul-rottger/hatecheck-data), file test_suite_cases.csv.

A manifest ships without the data it describes, and nothing downloads it: `download` says what to get.
"""

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, StringConstraints, ValidationError, model_validator

from safeguard_spark.authoring.check_output import diagnostic_text
from safeguard_spark.authoring.diagnostics import Diagnostic, in_order
from safeguard_spark.authoring.structure import Hints, duplicate_keys, invalid_values, read_source
from safeguard_spark.config.fields import Section
from safeguard_spark.errors import ConfigError, SourceError
from safeguard_spark.keys import sha256
from safeguard_spark.policy.document import NAME
from safeguard_spark.policy.positions import InvalidYamlError, Span, read_yaml
from safeguard_spark.policy.scalars import Truth
from safeguard_spark.suggest import closest_match

SET_FILE = "set.yaml"
ROW = "_row"  # the column that numbers the rows of a file that `set_files` reads, from 1
TABLE = r"[\w`-]+(\.[\w`-]+){0,2}"
HINTS = Hints(
    missing={
        "name": "it is the first part of name@version",
        "may_redistribute": "true or false: whether the licence lets others have a copy from you",
        "mapping": "which column says what is a violation of which policy, for example {hate: \"label = 'hateful'\"}",
        "id_column": f"a column that is unique; {ROW} is the number of the row in a CSV or JSON lines file",
    },
    bad={
        "name": "letters, digits, `.`, `_` and `-` only",
        "version": 'letters, digits, `.`, `_` and `-` only, in quotes: "0124"',
        "sha256": "64 lower-case hexadecimal digits, as sha256sum prints",
    },
)

Name = Annotated[str, StringConstraints(pattern=NAME)]
Text = Annotated[str, StringConstraints(min_length=1)]


class FileFormat(StrEnum):
    """The formats that `set_files` reads; Spark reads every other one, and tables.

    A Parquet file goes to Spark too, unless its manifest has `format: parquet` because its rows need an id.
    """

    csv = "csv"
    jsonl = "jsonl"
    parquet = "parquet"
    cases = "cases"  # a policy's cases.yaml
    pack = "pack"  # the CSV of a policy pack: a note, a header, two labelled items in a row

    @classmethod
    def of(cls, location: str) -> "FileFormat | None":
        """The format that a file's ending shows, with or without .gz; None if Spark reads it."""
        endings = {"csv": cls.csv, "jsonl": cls.jsonl, "ndjson": cls.jsonl, "yaml": cls.cases}
        return endings.get(location.removesuffix(".gz").rpartition(".")[2])


class SetManifest(Section):
    """A golden set at a version. Unknown keys are errors; the docstring of a field is its documentation."""

    name: Name
    """First part of name@version"""
    version: Name
    """Second part of name@version, in quotes if it looks like a number"""
    description: str = ""
    """What the set holds and who labelled it"""
    licence: Text
    """SPDX identifier of the data's licence"""
    may_redistribute: Truth
    """Whether the licence lets you give others a copy of the data"""
    location: Text
    """The data: a file, a folder or URL that Spark reads, or a table's name. A relative path starts at the manifest's
    folder; a folder next to the manifest is `./name`"""
    format: FileFormat | None = None
    """`csv`, `jsonl`, `parquet`, `cases` (a policy's cases.yaml) or `pack` (the CSV of a policy pack); null: as the
    ending shows, and a Parquet file as Spark reads it, without `_row`"""
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None
    """SHA-256 of the file; null: not checked"""
    id_column: Text
    """Column or SQL expression of unique ids; `_row` is the number of the row in a file with a `format`"""
    text_column: Text | None = None
    """Column or SQL expression of texts. Either this or `conversation_column`"""
    conversation_column: Text | None = None
    """Column or SQL expression of lists of (role, text) turns, of which the last is judged"""
    mapping: Annotated[dict[Name, Text], Field(min_length=1)]
    """Policy to the column or SQL expression that is true or 1 for a violation, false or 0 for none, and null where the
    answer is unknown. Unknown answers are left out and counted"""
    rules: dict[Name, Text] = {}  # noqa: RUF012  a pydantic model copies it
    """Policy to the column or SQL expression of the rules that people found broken: a text or a list; null: unknown"""
    categories: dict[Name, Text] = {}  # noqa: RUF012
    """Policy to the column or SQL expression of the category that people gave; null: none, or unknown"""
    decided_under: dict[Name, Text] = {}  # noqa: RUF012
    """Policy to the version that people decided under. Of answers that name a rule which a later version changes,
    nothing is known under that version"""
    slices: tuple[Text, ...] = ()
    """Columns whose values divide the set into the parts that are measured one by one"""
    split: str | None = None
    """Name of the split that the data is, for example test"""
    filter: Text | None = None
    """SQL condition that selects the rows of the set; null: all"""
    pairs_with: Annotated[str, StringConstraints(pattern=f"{NAME[:-1]}(@{NAME[1:-1]})?$")] | None = None
    """The set, as name or name@version, that shows what a better score here costs: contents that look like violations
    and are none"""
    contamination: str = ""
    """Why a model may have seen the set, and since when it is public"""
    download: str | None = None
    """What to get and where from, if the data does not ship. In words: nothing fetches it"""

    @model_validator(mode="after")
    def _one_content_column(self) -> Self:
        if (self.text_column is None) == (self.conversation_column is None):
            raise ValueError("needs either text_column or conversation_column")
        return self

    @model_validator(mode="after")
    def _policies_have_answers(self) -> Self:
        for field in ("rules", "categories", "decided_under"):
            for policy in getattr(self, field):
                if policy not in self.mapping:
                    raise ValueError(f"{field} names {policy}, which mapping does not. {self._nearest(policy)}")
        return self

    def _nearest(self, policy: str) -> str:
        """What may be meant by a policy that the set has no answers for."""
        match = closest_match(policy, self.mapping)
        return f"Did you mean {match}?" if match else f"It has answers for {', '.join(self.mapping)}."

    @property
    def ref(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"

    def answers_for(self, policies: Collection[str]) -> dict[str, str]:
        """The part of the mapping that is about these policies, by name. Raises ConfigError for one without answers."""
        for policy in policies:
            if policy not in self.mapping:
                raise ConfigError(f"The set {self.ref} has no answers for policy {policy}. {self._nearest(policy)}")
        return {policy: self.mapping[policy] for policy in policies}

    @property
    def digest(self) -> str:
        """SHA-256 over what determines contents and answers: not over words, nor over where the data lies."""
        words = {"description", "licence", "may_redistribute", "location", "pairs_with", "contamination", "download"}
        return sha256(self.model_dump(mode="json", exclude=words))

    @property
    def file_format(self) -> FileFormat | None:
        """The format of the file, or None if Spark reads the location itself."""
        return self.format or (None if "://" in self.location else FileFormat.of(self.location))


@dataclass(frozen=True)
class GoldenSet:
    """A manifest and the file it was read from."""

    manifest: SetManifest
    path: Path

    @property
    def location(self) -> str:
        """Where the data is: a table's name, a URL, or a path that does not depend on the current folder."""
        location = self.manifest.location
        is_file = self.manifest.file_format is not None or location.endswith((".parquet", ".orc"))
        if "://" in location or (not is_file and re.fullmatch(TABLE, location)):
            return location
        return str((self.path.parent / location).resolve())

    def data_file(self) -> Path:
        """The file, its SHA-256 checked; for sets with a `file_format`. Raises SourceError with what to download."""
        path = Path(self.location)
        if not path.is_file():
            words = self.manifest.download
            what = f"To get it: {words}" if words else f"Correct `location` in {self.path}."
            raise SourceError(f"The data of {self.manifest.ref} is not in {path}. {what}")
        verify_file(self.manifest, path)
        return path


def verify_file(manifest: SetManifest, path: Path) -> str:
    """The SHA-256 of a file. Raises SourceError with one sentence if the manifest has another one."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}.") from error
    if manifest.sha256 not in (None, digest):
        raise SourceError(
            f"{path} has the SHA-256 {digest}, but {manifest.ref} is the file with {manifest.sha256}: get that file, "
            "or give yours a manifest with another version."
        )
    return digest


def load_set(path: Path) -> GoldenSet:
    """Read a manifest. Raises ConfigError with every problem, its line, a caret and the nearest key."""
    source, problems = read_source(path, str(path))
    if problems:
        raise _error(problems)
    try:
        yaml = read_yaml(source.text)
    except InvalidYamlError as error:
        raise _error([source.diagnose("unreadable", error.span, str(error), error.hint)]) from error
    if not isinstance(yaml.value, dict):
        raise _error([source.diagnose("unreadable", Span(1), "a manifest is a list of `key: value` lines")])
    problems = duplicate_keys(source, yaml)
    try:
        manifest = SetManifest.model_validate(yaml.value)
    except ValidationError as error:
        raise _error([*problems, *invalid_values(error, source, yaml, SetManifest, HINTS)]) from error
    if problems:
        raise _error(problems)
    return GoldenSet(manifest, path)


def find_set(text: str, folder: Path) -> GoldenSet:
    """The set that `NAME`, `NAME@VERSION` (below `folder`) or a file means; a name alone means its newest version.

    Raises ConfigError, which suggests the most similar name or lists the versions.
    """
    path = Path(text)
    if path.is_file():
        return load_set(path)
    if "/" in text or path.suffix in (".yaml", ".yml"):
        raise ConfigError(f"{text} does not exist. Name a manifest, or a set as name@version.")
    name, _, version = text.partition("@")
    versions = set_versions(folder)
    if name not in versions:
        match = closest_match(name, versions)
        hint = f"Did you mean {match}?" if match else f"Sets: {', '.join(versions) or 'none'}."
        raise ConfigError(f"There is no set {name} in {folder}. {hint}")
    if version and version not in versions[name]:
        raise ConfigError(f"Set {name} has no version {version} in {folder}. Versions: {', '.join(versions[name])}.")
    file = folder / name / (version or versions[name][-1]) / SET_FILE
    golden_set = load_set(file)
    if golden_set.manifest.ref != f"{file.parent.parent.name}@{file.parent.name}":
        raise ConfigError(f"{file} is {golden_set.manifest.ref}: make its name and version equal to its folders.")
    return golden_set


def set_versions(folder: Path) -> dict[str, list[str]]:
    """The versions of every set below a folder, oldest first, by name in alphabetical order."""
    versions: dict[str, list[str]] = {}
    for file in sorted(folder.glob(f"*/*/{SET_FILE}"), key=lambda file: _version_key(file.parent.name)):
        versions.setdefault(file.parent.parent.name, []).append(file.parent.name)
    return dict(sorted(versions.items()))


def set_refs(folder: Path) -> list[str]:
    """Every set below a folder as name@version, as `set_versions` orders them. Raises ConfigError without a folder."""
    if not folder.is_dir():
        raise ConfigError(f"There is no folder {folder} of golden sets. Name one: --sets FOLDER.")
    return [f"{name}@{version}" for name, versions in set_versions(folder).items() for version in versions]


def _version_key(version: str) -> list[tuple[int, str]]:
    """Numbers in a version are compared as numbers: 1.9 is older than 1.10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", version)]


def _error(problems: list[Diagnostic]) -> ConfigError:
    return ConfigError("\n".join(diagnostic_text(problem) for problem in in_order(problems)).rstrip())
