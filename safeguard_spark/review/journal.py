"""Journal: every decision in SQLite before anything else happens to it, then in the table `decisions` exactly once.

The table says how far it has come: each commit to it carries the number of the journal's last row as the version of a
Delta transaction, atomically with the rows. So there is no mark in the journal that a crash could leave behind.
"""

import fcntl
import json
import logging
import sqlite3
import threading
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute

from safeguard_spark.errors import ConfigError
from safeguard_spark.review.decisions import Decision
from safeguard_spark.review.tables import LabelTables, arrow_schema, select, to_rows
from safeguard_spark.schema import DECISIONS, REVIEW_ITEMS

log = logging.getLogger(__name__)

EXPORTS = "exports"  # the folder, in a console's own, of what `review export` wrote
APPEND_S = 30.0  # how often decisions reach the table: each time is one small file
TABLES = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS leases (
  reviewer TEXT PRIMARY KEY, item_id TEXT NOT NULL, slot TEXT NOT NULL, shown_at REAL NOT NULL, expires_at REAL,
  decision_id TEXT, UNIQUE (item_id, slot)
);
CREATE TABLE IF NOT EXISTS decisions (
  number INTEGER PRIMARY KEY AUTOINCREMENT, decision_id TEXT NOT NULL UNIQUE, item_id TEXT NOT NULL,
  slot TEXT NOT NULL, reviewer TEXT NOT NULL, decided_at TEXT NOT NULL, is_again INTEGER NOT NULL,
  withdrawn INTEGER NOT NULL DEFAULT 0, imported INTEGER NOT NULL DEFAULT 0, row TEXT NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS one_decision ON decisions (item_id, slot) WHERE NOT withdrawn AND NOT is_again;
CREATE INDEX IF NOT EXISTS by_item ON decisions (item_id, slot, reviewer, withdrawn);
CREATE INDEX IF NOT EXISTS by_reviewer ON decisions (reviewer, number);
"""


def slot_of(stage: str, reviewer: str) -> str:
    """What only one person may fill: a stage of an item; of a calibration item everybody has their own."""
    return f"{stage}:{reviewer}" if stage == "calibration" else stage


class Journal:
    """The SQLite file of a console. One process has it at a time. Use `transaction` from one thread."""

    def __init__(self, folder: Path) -> None:
        """Open or create it. Raises ConfigError if another console has it, or if it cannot be read; OSError."""
        self.own_versions = set[int]()  # of the table, since `synchronize` last read it: commits of this journal
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(folder)
        self.path = folder / "journal.db"
        try:
            self.connection = self.connect()
            self.connection.executescript(TABLES)
            self.connection.execute("INSERT OR IGNORE INTO meta VALUES ('journal_id', ?)", (uuid.uuid4().hex,))
            (self.journal_id,) = self.connection.execute("SELECT value FROM meta WHERE name = 'journal_id'").fetchone()
        except sqlite3.DatabaseError as error:
            self._lock.close()
            raise ConfigError(
                f"{self.path} cannot be used ({error}). Restore it from a backup; or move it away, and the console "
                "starts with the decisions that are in the table."
            ) from error

    def connect(self) -> sqlite3.Connection:
        """A connection of the caller's thread."""
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=30)
        connection.row_factory = sqlite3.Row
        # What is erased must not stay in free pages.
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON"):
            connection.execute(f"PRAGMA {pragma}")
        return connection

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, on disk when it ends."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield self.connection
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")

    def insert(self, decision: Decision, *, is_again: bool, imported: bool = False) -> None:
        """Add a decision; one that withdraws another marks that. Call it in a transaction."""
        values = (
            decision.decision_id, decision.item_id, slot_of(decision.stage, decision.reviewer), decision.reviewer,
            decision.decided_at.isoformat(), is_again, decision.withdraws is not None, imported, _dump(decision),
        )  # fmt: skip
        if decision.withdraws:
            self.connection.execute("UPDATE decisions SET withdrawn = 1 WHERE decision_id = ?", (decision.withdraws,))
        self.connection.execute(
            "INSERT INTO decisions (decision_id, item_id, slot, reviewer, decided_at, is_again, withdrawn, imported,"
            " row) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            values,
        )

    def decisions(self, where: str = "1", *values: Any) -> list[Decision]:
        """The decisions that meet a condition, in the order in which they were made."""
        rows = self.connection.execute(f"SELECT row FROM decisions WHERE {where} ORDER BY number", values)
        return [_load(row["row"]) for row in rows]

    def stream(self, where: str, order: str = "number") -> Iterator[Decision]:
        """The decisions that meet a condition, one at a time: there may be millions, so call it in another thread."""
        with closing(self.connect()) as connection:
            for row in connection.execute(f"SELECT row FROM decisions WHERE {where} ORDER BY {order}"):
                yield _load(row["row"])

    def items_by_reviewer(self) -> dict[str, int]:
        """How many items each reviewer has decided, by name."""
        query = "SELECT reviewer, count(DISTINCT item_id) FROM decisions WHERE NOT withdrawn GROUP BY 1 ORDER BY 1"
        return {row[0]: row[1] for row in self.connection.execute(query)}

    def close(self) -> None:
        """Give it back to other processes."""
        self.connection.close()
        self._lock.close()


class Appender:
    """Appends what the journal has to the table `decisions`, from a thread of its own."""

    def __init__(self, journal: Journal, tables: LabelTables, every_s: float = APPEND_S) -> None:
        self._journal, self._tables, self._every_s = journal, tables, every_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="appender", daemon=True)

    def start(self) -> None:
        """Append from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Append what there is, and end."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        is_last = False
        while True:
            try:
                append_new(self._journal, self._tables)
            except Exception as error:  # the journal has it; the next time, or the next start, appends it
                log.warning("decisions could not be appended yet: %s", type(error).__name__)
            if is_last:
                return
            is_last = self._stopped.wait(self._every_s)


def append_new(journal: Journal, tables: LabelTables) -> int:
    """Append every decision that the table does not have yet, in one commit; returns how many."""
    new = not_appended(journal, tables)
    if new:
        table = tables.create(DECISIONS)
        next_version = int(table.version()) + 1
        progress = (journal.journal_id, int(new[-1]["number"]))
        tables.append(DECISIONS, [_load(row["row"]).row for row in new], progress)
        table.update_incremental()
        if table.version() == next_version:  # else other commits came between
            journal.own_versions.add(next_version)
    return len(new)


def not_appended(journal: Journal, tables: LabelTables) -> list[sqlite3.Row]:
    """The decisions that the table does not have yet; those about items that were erased since leave the journal."""
    appended = tables.create(DECISIONS).transaction_version(journal.journal_id) or 0
    with closing(journal.connect()) as connection:
        query = "SELECT number, item_id, row FROM decisions WHERE number > ? AND NOT imported ORDER BY number"
        rows = connection.execute(query, (appended,)).fetchall()
        items = tables.open(REVIEW_ITEMS) if rows else None
        if items is None:
            return rows
        ids = pa.array([row["item_id"] for row in rows], pa.string())
        are_there = pa.compute.is_in(ids, select(items, ["item_id"])["item_id"]).to_pylist()
        erased = [(row["number"],) for row, is_there in zip(rows, are_there, strict=True) if not is_there]
        if erased:
            connection.executemany("DELETE FROM decisions WHERE number = ?", erased)
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return [row for row, is_there in zip(rows, are_there, strict=True) if is_there]


def synchronize(journal: Journal, tables: LabelTables, known_version: int | None = None) -> int:
    """Make the journal what the table says; returns the table's version.

    Rows of other journals are taken over, so that nobody decides them again. Rows that were appended and are no longer
    in the table were erased, so they leave the journal too. Nothing is read if every commit since `known_version` is
    the journal's own: with a million decisions that would keep everybody waiting for seconds.
    """
    table = tables.create(DECISIONS)
    version = int(table.version())
    if known_version is not None and known_version <= version:
        since = range(known_version + 1, version + 1)
        if journal.own_versions.issuperset(since):
            return version
    journal.own_versions.clear()
    appended = table.transaction_version(journal.journal_id) or 0
    ids = set(select(table, ["decision_id"])["decision_id"].to_pylist())
    known = journal.connection.execute("SELECT decision_id, number, imported FROM decisions").fetchall()
    erased = [(row[0],) for row in known if row[0] not in ids and (row["imported"] or row["number"] <= appended)]
    missing = ids.difference(row[0] for row in known)
    rows = select(table) if missing else arrow_schema(DECISIONS).empty_table()
    is_new = pa.compute.is_in(rows["decision_id"], pa.array(list(missing), pa.string()))
    new = sorted(to_rows(rows.filter(is_new)), key=lambda row: row["decided_at"])
    with journal.transaction() as connection:
        _number_from(connection, appended + 1)
        connection.executemany("DELETE FROM decisions WHERE decision_id = ?", erased)
        for decision in map(Decision.of, new):
            slot = slot_of(decision.stage, decision.reviewer)
            # Two consoles may have decided the same item: the later decision counts, and both are kept.
            others = journal.decisions("item_id = ? AND slot = ? AND NOT withdrawn", decision.item_id, slot)
            journal.insert(decision, is_again=bool(others), imported=True)
    if erased:
        journal.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        remove_exports(journal.path.parent)
    return version


def remove_exports(folder: Path) -> int:
    """Delete the files of `review export` in a console's folder: they may hold what was erased. Returns how many."""
    files = [file for file in (folder / EXPORTS).glob("*") if file.is_file()]
    for file in files:
        file.unlink(missing_ok=True)
    return len(files)


def _locked(folder: Path) -> IO[str]:
    file = (folder / "lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise ConfigError(
            f"Another console uses {folder}. One process serves the console of a table: stop the other one."
        ) from error
    return file


def _number_from(connection: sqlite3.Connection, number: int) -> None:
    """Give the next decision this number at least: a lower one, in a journal from a backup, passes for appended."""
    last = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'decisions'").fetchone()
    if last is None:
        connection.execute("INSERT INTO sqlite_sequence VALUES ('decisions', ?)", (number - 1,))
    elif last["seq"] < number - 1:
        connection.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'decisions'", (number - 1,))


def _dump(decision: Decision) -> str:
    return json.dumps({**decision.row, "decided_at": decision.decided_at.isoformat()})


def _load(text: str) -> Decision:
    row = json.loads(text)
    return Decision.of({**row, "decided_at": datetime.fromisoformat(row["decided_at"])})
