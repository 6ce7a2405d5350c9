"""Erasure from what the console keeps outside of the tables: its journal, and the files that it exported."""

from typing import NamedTuple

from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import ConfigError
from safeguard_spark.review.journal import Journal, not_appended, remove_exports, synchronize
from safeguard_spark.review.tables import LabelTables, console_folder


class Cleaned(NamedTuple):
    """What was removed. `is_pending`: a console that runs has the journal, and removes the rows itself."""

    exports: int = 0
    is_pending: bool = False


def clean_console(config: RunConfig) -> Cleaned | None:
    """Remove from a console's folder what is no longer in the tables, and every export; None if no folder is here."""
    try:
        tables = LabelTables(config.output)
        folder = console_folder(config, tables)
    except ConfigError:  # a catalog or an object store: the folder is on the console's machine
        return None
    if not folder.is_dir():
        return None
    exports = remove_exports(folder)
    try:
        journal = Journal(folder)
    except ConfigError:
        return Cleaned(exports, is_pending=True)
    try:
        not_appended(journal, tables)  # what the table never had leaves too
        synchronize(journal, tables)
    finally:
        journal.close()
    return Cleaned(exports)
