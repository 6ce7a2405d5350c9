"""Speed: contenders side by side on one machine, run in turn, two sizes each, with rows that no engine has seen."""

import contextlib
import fcntl
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from tests.bench import workload
from tests.bench.arena import LostError, Running, python_of
from tests.bench.contender import Done
from tests.bench.models import Model

WARM_ROWS = 48
SPARK = ("job", "udf")


class Entry(NamedTuple):
    """A contender's process and the settings it runs with in turn."""

    kind: str
    setting: dict[str, Any]
    orders: tuple[dict[str, Any], ...]

    @property
    def name(self) -> str:
        """The name in the log and the tables."""
        return "-".join([self.kind, *(f"{value}{key}" for key, value in self.setting.items())])


def parse_entries(names: Sequence[str]) -> list[Entry]:
    """What `limit`, `job1`, `job2`, `job4` (task slots), `udf`, `seam`, `ray` and `daft` mean.

    `job4:1,16` names the partitions to run with, `udf:32` the batches; `limit:32` adds the limit in such batches.
    """
    entries = []
    for name in names:
        kind, _, listed = name.partition(":")
        numbers = [int(number) for number in listed.split(",")] if listed else []
        if kind.startswith("job"):
            orders = tuple({"partitions": number} for number in numbers or (1, 4, 16))
            entries.append(Entry("job", {"slots": int(kind[3:])}, orders))
        elif kind == "udf":
            entries.append(Entry("udf", {}, tuple({"batch": number} for number in numbers or (32, 128))))
        else:
            entries.append(Entry(kind, {}, ({}, *({"batch": number} for number in numbers))))
    return entries


@contextlib.contextmanager
def turn(locks: Sequence[Path]) -> Iterator[None]:
    """Hold lock files, in order: measure undisturbed on a machine whose other work takes the same locks."""
    with contextlib.ExitStack() as stack:
        for lock in locks:
            file = stack.enter_context(lock.open("a"))
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Session:
    """Contenders of one model, started together and then run in turn. Every run is a JSON line."""

    def __init__(self, model: Model, folder: Path, results: Path) -> None:
        self._model, self._folder, self._results = model, folder, results
        self._id = time.time_ns() // 1_000_000
        self._running: list[tuple[Entry, Running]] = []
        self._starts: dict[str, int] = {}

    def start(self, entries: Sequence[Entry]) -> None:
        """Start contenders, and let each label a few rows; one that cannot is left out."""
        table = workload.write(self._folder / "warm.parquet", WARM_ROWS, seed=self._id % 1_000_003)
        started = [
            (entry, Running(entry.name, entry.kind, self._model, entry.setting, self._folder, python_of(entry.kind)))
            for entry in entries
        ]
        self._running += started
        for entry, process in started:
            try:
                first = process.run(table, {**entry.orders[0], "partitions": 1})
            except LostError as error:
                print(f"left out: {error}", flush=True)
                self._running.remove((entry, process))
                process.close()
                continue
            self._starts[entry.name] = first.engine_starts
            print(f"{self._model.name} {entry.name}: ready after {process.age_s:.0f} s", flush=True)

    def kinds(self) -> list[str]:
        """The kinds of contenders that run next to the limit."""
        return list(dict.fromkeys(entry.kind for entry, _ in self._running if entry.kind != "limit"))

    def round(self, number: int, sizes: Sequence[int], kind: str) -> None:
        """Run the limit and the contenders of a kind in turn over new tables, size by size."""
        running = [(entry, process) for entry, process in self._running if entry.kind in ("limit", kind)]
        for size in sizes:
            seed = (self._id + number) % 1_000_003 * 1000 + size % 997
            for entry, process in running:
                for copy, order in enumerate(entry.orders):
                    name = self._folder / f"rows-{number}-{size}-{copy}.parquet"
                    table = workload.write(name, size, seed, copy)
                    self._note(entry, order, number, size, process.run(table, order), process)

    def close(self) -> None:
        """End all contenders."""
        for _, process in self._running:
            process.close()

    def _note(self, entry: Entry, order: dict[str, Any], number: int, size: int, done: Done, by: Running) -> None:
        rate = done.output_tokens / done.wall_s
        text = f"{size} rows {done.wall_s:.1f} s, {rate:.0f} tokens/s {done.seconds or ''}"
        print(f"{self._model.name} {entry.name} {order or ''}: {text}", flush=True)
        add(self._results, {
            "model": self._model.name, "kind": entry.kind, "setting": {**entry.setting, **order}, "session": self._id,
            "round": number, "size": size, "peak_mib": by.peak_mib, "watts": by.watts,
            **asdict(done),
            "engine_starts": self._starts[entry.name] + (done.engine_starts if entry.kind == "job" else 0),
        })  # fmt: skip


def measure(
    model: Model, names: Sequence[str], sizes: Sequence[int], rounds: int, folder: Path, results: Path,
    locks: Sequence[Path] = (), later: Sequence[Path] = (),
) -> None:  # fmt: skip
    """Start every contender, then run each in turn; one JSON line per run is added to `results`.

    `locks` are held while contenders with Spark start, `later` while the others start and during every round.
    """
    session = Session(model, folder, results)
    entries = parse_entries(names)
    try:
        for files, spark in ((later, False), (locks, True)):
            if chosen := [entry for entry in entries if (entry.kind in SPARK) is spark]:
                with turn(files):
                    session.start(chosen)
        kinds = session.kinds() or ["limit"]
        for number in range(rounds * len(kinds)):
            with turn(later):
                session.round(number, sizes, kinds[number % len(kinds)])
    finally:
        session.close()


def add(results: Path, line: dict[str, Any]) -> None:
    """Append one JSON line."""
    with results.open("a") as file:
        file.write(json.dumps(line) + "\n")
