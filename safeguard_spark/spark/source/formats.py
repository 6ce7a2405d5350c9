"""Formats: what kind of files a folder holds, judged by their names."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from safeguard_spark.errors import SourceError

ENDINGS = {
    "parquet": "parquet", "parq": "parquet", "csv": "csv", "tsv": "csv", "json": "json", "jsonl": "json",
    "ndjson": "json", "orc": "orc",
}  # fmt: skip
COMPRESSIONS = frozenset(["gz", "bz2", "zst", "snappy", "lz4", "deflate"])
READABLE = "Spark reads Delta, Parquet, CSV, JSON lines and ORC"
# A text may have line breaks and quotes, and what does not fit is an error rather than null.
DEFAULTS: Mapping[str, Mapping[str, str]] = {
    "csv": {"header": "true", "multiLine": "true", "escape": '"', "mode": "FAILFAST", "columnPruning": "false"},
    "json": {"mode": "FAILFAST"},
}


class Entry(NamedTuple):
    """A file or folder in a folder."""

    name: str
    is_folder: bool

    @property
    def is_hidden(self) -> bool:
        """Whether Spark ignores it, as it does with `_SUCCESS`."""
        return self.name.startswith(".") or (self.name.startswith("_") and "=" not in self.name)

    @property
    def ending(self) -> str:
        """The ending of its name, that of a compression left out; empty if it has none."""
        parts = self.name.lower().split(".")[1:]
        parts = parts[:-1] if len(parts) > 1 and parts[-1] in COMPRESSIONS else parts
        return parts[-1] if parts else ""

    @property
    def is_partition(self) -> bool:
        """Whether it is the folder of a partition: `column=value`."""
        return self.is_folder and "=" in self.name


def options(file_format: str, first: Entry) -> dict[str, str]:
    """The options with which files of a format are read, unless the user sets others."""
    separator = {"sep": "\t"} if first.ending == "tsv" else {}
    return {**DEFAULTS.get(file_format, {}), **separator}


def files_of(location: str, entries: Sequence[Entry], recursive: bool) -> list[Entry]:
    """The data files among the entries of a folder. Raises SourceError for folders that Spark would leave out."""
    visible = [entry for entry in entries if not entry.is_hidden]
    names = {entry.name for entry in entries}
    if ".hoodie" in names:
        raise SourceError(f"Source {location} is a Hudi table. Name a view over it, or write it as Delta or Parquet.")
    if {"metadata", "data"} <= names:
        raise SourceError(f"Source {location} is an Iceberg table. Name it as CATALOG.SCHEMA.TABLE, not as a folder.")
    others = [entry.name for entry in visible if entry.is_folder and not entry.is_partition]
    if others and not recursive:
        raise SourceError(
            f"Source {location} has folders that are not partitions ({_listed(others)}): Spark would leave out their "
            "files. Name one of them, or add --set source.options.recursiveFileLookup=true."
        )
    return [entry for entry in visible if not entry.is_folder]


def format_of(location: str, files: Sequence[Entry]) -> str:
    """The one format of data files, by their endings; Parquet where they have none. Raises SourceError."""
    by_ending: dict[str, list[str]] = {}
    for file in files:
        by_ending.setdefault(file.ending, []).append(file.name)
    formats = {ENDINGS.get(ending, "parquet" if not ending else "") for ending in by_ending}
    if len(formats) == 1 and "" not in formats:
        return formats.pop()
    known = [ending for ending in by_ending if ending in ENDINGS]
    listed = ", ".join(f"{len(names)} .{ending} ({names[0]})" for ending, names in sorted(by_ending.items()))
    if known:
        raise SourceError(
            f"Source {location} holds files of several kinds: {listed}. To read one kind add --set "
            f"source.format={ENDINGS[known[0]]} --set source.options.pathGlobFilter='*.{known[0]}'."
        )
    raise SourceError(
        f"Source {location} is no table: it holds {listed}. {READABLE}; if it is one of these add --set "
        "source.format=parquet, csv, json or orc."
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
