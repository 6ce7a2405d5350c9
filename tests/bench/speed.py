"""Speed: contenders side by side on one machine, asked in turn, two sizes each, rows nobody has seen before."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from tests.bench import workload
from tests.bench.arena import LostError, Running, python_of
from tests.bench.models import Model

WARM_ROWS = 48


class Entry(NamedTuple):
    """A contender's process and the settings it is asked with in turn."""

    kind: str
    setting: dict[str, Any]
    orders: tuple[dict[str, Any], ...]

    @property
    def name(self) -> str:
        """For the log and the tables."""
        return "-".join([self.kind, *(f"{value}{key}" for key, value in self.setting.items())])


def entries(names: Sequence[str]) -> list[Entry]:
    """What `limit`, `job1`, `job2`, `job4` (task slots), `udf`, `ray` and `daft` stand for.

    `job4:1,16` names the partitions to ask for, `udf:32` the batches.
    """
    made = []
    for name in names:
        kind, _, listed = name.partition(":")
        numbers = [int(number) for number in listed.split(",")] if listed else []
        if kind.startswith("job"):
            orders = tuple({"partitions": number} for number in numbers or (1, 4, 16))
            made.append(Entry("job", {"slots": int(kind[3:])}, orders))
        elif kind == "udf":
            made.append(Entry("udf", {}, tuple({"batch": number} for number in numbers or (32, 128))))
        else:
            made.append(Entry(kind, {}, ({},)))
    return made


def measure(model: Model, names: Sequence[str], sizes: Sequence[int], rounds: int, folder: Path, results: Path) -> None:
    """Start every contender, then ask each in turn, size by size; one JSON line per run is added to `results`."""
    running: list[tuple[Entry, Running]] = []
    session = time.time_ns() // 1_000_000
    try:
        begun = [
            (entry, Running(entry.name, entry.kind, model, entry.setting, folder, python_of(entry.kind)))
            for entry in entries(names)
        ]
        for entry, process in begun:
            running.append((entry, process))
            order = {**entry.orders[0], "partitions": 1}
            try:
                process.run(workload.write(folder / "warm.parquet", WARM_ROWS, seed=session % 1_000_003), order)
            except LostError as error:
                print(f"{error}: left out", flush=True)
                running.pop()[1].close()
                continue
            print(f"{model.name} {entry.name}: ready after {process.age_s:.0f} s", flush=True)
            add(results, {"start": entry.name, "model": model.name, "session": session, "start_s": process.age_s})
        for number in range(rounds):
            for size in sizes:
                seed = (session + number) % 1_000_003
                table = workload.write(folder / f"rows-{number}-{size}.parquet", size, seed=seed * 1000 + size % 997)
                for entry, process in running:
                    for order in entry.orders:
                        done = process.run(table, order)
                        said = {**entry.setting, **order}
                        print(
                            f"{model.name} {entry.name} {order}: {size} rows {done.wall_s:.1f} s, "
                            f"{done.output_tokens / done.wall_s:.0f} tokens/s {done.seconds}",
                            flush=True,
                        )
                        add(results, {
                            "model": model.name, "kind": entry.kind, "setting": said, "session": session,
                            "round": number, "size": size, "peak_mib": process.peak_mib, **asdict(done),
                        })  # fmt: skip
    finally:
        for _, process in running:
            process.close()


def add(results: Path, line: dict[str, Any]) -> None:
    """One more JSON line."""
    with results.open("a") as file:
        file.write(json.dumps(line) + "\n")
