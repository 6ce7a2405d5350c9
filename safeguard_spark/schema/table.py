"""What a table is: its columns with their meanings, and its constraints."""

from collections.abc import Mapping
from typing import NamedTuple


class Column(NamedTuple):
    """A column: its name, its Spark SQL type, and what it means."""

    name: str
    type: str
    comment: str
    is_private: bool = False  # tells a content from others, or may quote it


class Table(NamedTuple):
    """A table: its columns' meanings by `name TYPE` in order, its CHECK constraints, and what one row is.

    `added` are the columns that tables of earlier releases lack. They are null in the rows of those.
    """

    name: str
    comment: str
    meanings: Mapping[str, str]
    checks: tuple[tuple[str, str], ...] = ()
    private: tuple[str, ...] = ()
    added: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns in order."""
        split = ((*column.split(" ", 1), meaning) for column, meaning in self.meanings.items())
        return tuple(Column(name, kind, meaning, name in self.private) for name, kind, meaning in split)

    @property
    def ddl(self) -> str:
        """The columns as a Spark SQL schema."""
        return ", ".join(self.meanings)

    @property
    def names(self) -> list[str]:
        """Column names in order."""
        return [column.name for column in self.columns]

    @property
    def indexed(self) -> list[str]:
        """Columns whose lowest and highest value per file Delta keeps in its log, where an erasure does not reach."""
        return [c.name for c in self.columns if c.type in ("STRING", "INT", "BIGINT", "TIMESTAMP") and not c.is_private]
