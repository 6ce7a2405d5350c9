"""Partitions, slots and windows on paper: how full an engine is kept whose step takes the same time at any batch.

    python -m tests.bench.simulate

Rows of the bench's lengths, cut into chunks, a chunk into label tasks; a task holds its slot until its last answer.
Prints rows/s as a share of what the engine does with all rows at once, with a window of one and a half batches. A GPU
below its full batch is such an engine.
"""

from dataclasses import dataclass
from itertools import pairwise
from random import Random

from tests.bench.workload import LENGTHS

ROWS, SEQS, AHEAD = 16_384, 128, 2


@dataclass
class Task:
    """A label task: answers still to request, by length; how many are open; its chunk."""

    chunk: int
    remaining: list[int]
    open: int = 0


def length(random: Random) -> int:
    """An output length of the bench."""
    share = random.random()
    for (low, shortest), (high, longest) in pairwise(LENGTHS):
        if share < high:
            return round(shortest + (longest - shortest) * (share - low) / (high - low))
    return LENGTHS[-1][1]


def steps(
    chunk_rows: int, partitions: int, slots: int, window: int, *, shared: bool, longest_first: bool = False
) -> int:
    """Engine steps until every row is answered. `shared`: tasks use what the others leave of the window.

    `longest_first`: a task requests its longest answer first, as if it knew the lengths.
    """
    random, chunks = Random(0), ROWS // chunk_rows
    pending = []
    for chunk in range(chunks):
        lengths = [length(random) for _ in range(chunk_rows)]
        for number in range(partitions):
            own = lengths[number::partitions]
            pending.append(Task(chunk, sorted(own) if longest_first else own))  # requested from the end
    tasks: list[Task] = []
    waiting: list[Task] = []
    running: list[list[int]] = []  # remaining steps, id of its task
    owners: dict[int, Task] = {}
    elapsed = 0
    while True:
        tasks = [task for task in tasks if task.remaining or task.open]
        oldest = min((task.chunk for task in [*tasks, *pending[:1]]), default=None)
        if oldest is None:
            return elapsed
        while pending and len(tasks) < slots and pending[0].chunk < oldest + AHEAD:
            tasks.append(pending.pop(0))
        _open_requests(tasks, waiting, window, min(slots, partitions), shared=shared)
        while waiting and len(running) < SEQS:
            task = waiting.pop(0)
            owners[id(task)] = task
            running.append([task.remaining.pop(), id(task)])
        elapsed += 1
        for answer in running:
            answer[0] -= 1
            owners[answer[1]].open -= answer[0] <= 0
        running = [answer for answer in running if answer[0] > 0]


def _open_requests(tasks: list[Task], waiting: list[Task], window: int, sharing: int, *, shared: bool) -> None:
    """Open requests as the window allows, a task at a time in turn."""
    queued = {id(task): sum(one is task for one in waiting) for task in tasks}
    total = sum(task.open for task in tasks)
    more = True
    while more:
        more = False
        for task in tasks:
            fits = total < window if shared else task.open < window // sharing
            if fits and len(task.remaining) > queued[id(task)]:
                waiting.append(task)
                task.open += 1
                queued[id(task)] += 1
                total += 1
                more = True


def main() -> None:
    """Print the table."""
    limit = steps(ROWS, 1, 1, 10**9, shared=False)
    print("| rows a chunk | slots | label tasks a chunk | fixed shares | shared | shared, longest first |")
    print("| --- | --- | --- | --- | --- | --- |")
    for chunk_rows in (2048, 4096, 16_384):
        for slots in (1, 2, 4, 8):
            for per_slot in (1, 4):
                shares = [
                    limit
                    / steps(
                        chunk_rows, slots * per_slot, slots, SEQS * 3 // 2, shared=shared, longest_first=longest_first
                    )
                    for shared, longest_first in ((False, False), (True, False), (True, True))
                ]
                cells = " | ".join(f"{share:.2f}" for share in shares)
                print(f"| {chunk_rows:,} | {slots} | {slots * per_slot} | {cells} |")


if __name__ == "__main__":
    main()
