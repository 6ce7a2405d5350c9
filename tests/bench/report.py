"""Tables from the results: medians and sums over rounds, ratios only between runs of one round."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from tools.marks import markdown_table, replace_blocks

Line = dict[str, Any]


def show(results: Path, document: Path | None) -> None:
    """Print the tables, and put them between the marks of a document."""
    lines = [json.loads(text) for text in results.read_text().splitlines()] if results.exists() else []
    parts = {"speed": speed(lines), "scale": scale(lines)}
    for text in parts.values():
        print("\n" + text)
    if document is not None and document.exists():
        page = document.read_text(encoding="utf-8")
        document.write_text(replace_blocks(page, parts), encoding="utf-8")


def speed(lines: Iterable[Line]) -> str:
    """The contenders, one row per setting."""
    runs: dict[tuple[str, str], list[Line]] = defaultdict(list)
    for line in lines:
        if "kind" in line:
            runs[line["model"], name(line)].append(line)
    slopes = {key: _slopes(found) for key, found in runs.items()}
    rows = []
    for (model, who), found in runs.items():
        limit, own = slopes.get((model, "limit"), {}), slopes[model, who]
        big = [line for line in found if line["size"] == max(line["size"] for line in found)]
        base = runs.get((model, "limit"), [])
        whole = [run / most for run, most in _pairs(big, base)]
        labelled = [{**line, "wall_s": line["seconds"]["label"]} for line in big if "label" in line["seconds"]]
        label = [run / most for run, most in _pairs(labelled, base)]
        rows.append([
            model, who, _shown(_rate(own.values()), ".1f"), _shown(_ratio(own, limit), ".2f"), _median(whole, ".2f"),
            _median(label, ".2f"),
            _median((line["output_tokens"] / line["wall_s"] for line in big), ".0f"),
            _median((line["wall_s"] for line in big), ".1f"), str(big[0]["size"]),
            str(max(line["engine_starts"] for line in found)),
            _median((line["cached_tokens"] / max(1, line["prompt_tokens"]) for line in found), ".1%"),
            f"{max(line['peak_mib'] for line in found):.0f}", str(len(own)),
            _median((watts for line in big if (watts := line.get("watts"))), ".0f"),
        ])  # fmt: skip
    head = [
        "model", "contender", "marginal rows/s", "ratio", "ratio of whole runs", "of label phases", "output tokens/s",
        "wall s", "rows", "engine starts", "prefix hits", "peak MiB", "rounds", "GPU watts",
    ]  # fmt: skip
    if not any(row[-1] for row in rows):
        head, rows = head[:-1], [row[:-1] for row in rows]
    return markdown_table(head, rows)


def name(line: Line) -> str:
    """A contender and its setting, in short."""
    return "-".join([line["kind"], *(f"{value}{key}" for key, value in line["setting"].items())])


Slope = tuple[int, float]  # rows and seconds between a small and a large table of a round


def _slopes(found: Sequence[Line]) -> dict[tuple[int, int], Slope]:
    """The slope of each round."""
    rounds: dict[tuple[int, int], list[Line]] = defaultdict(list)
    for line in found:
        rounds[line["session"], line["round"]].append(line)
    made = {}
    for at, runs in rounds.items():
        small, large = min(runs, key=lambda run: run["size"]), max(runs, key=lambda run: run["size"])
        if large["size"] > small["size"]:
            made[at] = (large["size"] - small["size"], _beyond_start(large) - _beyond_start(small))
    return made


def _beyond_start(run: Line) -> float:
    """Wall seconds without the start of an engine that every run starts anew, where that was timed."""
    return float(run["wall_s"] - run["seconds"].get("start", 0.0))


def _rate(slopes: Iterable[Slope]) -> float | None:
    """Rows/s over all of them together: the difference of two short runs is too noisy to be averaged as a rate."""
    known = list(slopes)
    seconds = sum(seconds for _, seconds in known)
    return sum(rows for rows, _ in known) / seconds if seconds > 0 else None


def _ratio(own: dict[tuple[int, int], Slope], limit: dict[tuple[int, int], Slope]) -> float | None:
    """Marginal rate by the limit's, over the rounds both ran in."""
    both = own.keys() & limit.keys()
    ours, theirs = _rate(own[at] for at in both), _rate(limit[at] for at in both)
    return ours / theirs if ours and theirs else None


def _pairs(runs: Sequence[Line], limits: Sequence[Line]) -> list[tuple[float, float]]:
    """Rows/s of runs, each with the limit's over the same table."""
    known = {(line["session"], line["round"], line["size"]): line["size"] / line["wall_s"] for line in limits}
    places = [(line["session"], line["round"], line["size"]) for line in runs]
    return [
        (line["size"] / line["wall_s"], known[place])
        for line, place in zip(runs, places, strict=True)
        if place in known
    ]


def scale(lines: Iterable[Line]) -> str:
    """Planning and committing by table size."""
    sizes: dict[int, list[Line]] = defaultdict(list)
    for line in lines:
        if "scale" in line:
            sizes[line["scale"]].append(line)
    rows = []
    for size, found in sorted(sizes.items()):
        heap = max(line["heap_end"] for line in found)
        rows.append([
            f"{size:,}", _median((line["plan_s"] for line in found), ".1f"), str(found[0]["chunks"]),
            _median((line["commit_s"] for line in found), ".1f"),
            _median((median(line["commits_s"]) for line in found), ".2f"),
            _median((line["nothing_s"] for line in found), ".1f"), _median((line["ten_s"] for line in found), ".1f"),
            f"{heap:.0f}", str(len(found)),
        ])  # fmt: skip
    head = [
        "rows", "plan s (all pending)", "chunks", "commits s", "one commit s", "job, nothing new s", "job, ten new s",
        "live heap MiB", "times",
    ]  # fmt: skip
    return markdown_table(head, rows)


def _shown(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _median(values: Iterable[float], form: str) -> str:
    known = list(values)
    return format(median(known), form) if known else ""
