"""Tables from the results: medians and sums over rounds, ratios only between runs of one round."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from tools.marks import markdown_table, replace_blocks

Line = dict[str, Any]


def write_report(results: Path, document: Path | None) -> None:
    """Print the tables that there are results for, and write them between the marks of a document."""
    lines = [json.loads(text) for text in results.read_text().splitlines()] if results.exists() else []
    tables = (
        ("speed", "kind", speed), ("scale", "scale", scale), ("nightly", "nightly", nightly), ("start", "start", start),
    )  # fmt: skip
    parts = {name: table(lines) for name, key, table in tables if any(key in line for line in lines)}
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
            runs[line["model"], contender_of(line)].append(line)
    slopes = {key: _slopes(runs_of_one) for key, runs_of_one in runs.items()}
    rows = []
    for (model, contender), all_runs in runs.items():
        limit, own = slopes.get((model, "limit"), {}), slopes[model, contender]
        big = [line for line in all_runs if line["size"] == max(line["size"] for line in all_runs)]
        base = runs.get((model, "limit"), [])
        whole = [rate / limit_rate for rate, limit_rate in _pairs(big, base)]
        labelled = [{**line, "wall_s": line["seconds"]["label"]} for line in big if "label" in line["seconds"]]
        label = [rate / limit_rate for rate, limit_rate in _pairs(labelled, base)]
        rows.append([
            model, contender, _format(_rate(own.values()), ".1f"), _format(_ratio(own, limit), ".2f"),
            _median(whole, ".2f"),
            _median(label, ".2f"),
            _median((line["output_tokens"] / line["wall_s"] for line in big), ".0f"),
            _median((line["wall_s"] for line in big), ".1f"), str(big[0]["size"]),
            str(max(line["engine_starts"] for line in all_runs)),
            _median((line["cached_tokens"] / max(1, line["prompt_tokens"]) for line in all_runs), ".1%"),
            f"{max(line['peak_mib'] for line in all_runs):.0f}", str(len(own)),
            _median((watts for line in big if (watts := line.get("watts"))), ".0f"),
        ])  # fmt: skip
    head = [
        "model", "contender", "marginal rows/s", "ratio", "ratio of whole runs", "of label phases", "output tokens/s",
        "wall s", "rows", "engine starts", "prefix hits", "peak MiB", "rounds", "GPU watts",
    ]  # fmt: skip
    if not any(row[-1] for row in rows):
        head, rows = head[:-1], [row[:-1] for row in rows]
    return markdown_table(head, rows)


def contender_of(line: Line) -> str:
    """A contender and its setting, in short."""
    return "-".join([line["kind"], *(f"{value}{key}" for key, value in line["setting"].items())])


Slope = tuple[int, float]  # rows and seconds between a small and a large table of a round


def _slopes(lines: Sequence[Line]) -> dict[tuple[int, int], Slope]:
    """The slope of each round."""
    rounds: dict[tuple[int, int], list[Line]] = defaultdict(list)
    for line in lines:
        rounds[line["session"], line["round"]].append(line)
    slopes = {}
    for key, runs in rounds.items():
        small, large = min(runs, key=lambda run: run["size"]), max(runs, key=lambda run: run["size"])
        if large["size"] > small["size"]:
            slopes[key] = (large["size"] - small["size"], _beyond_start(large) - _beyond_start(small))
    return slopes


def _beyond_start(run: Line) -> float:
    """Wall seconds without the engine start, for a contender that starts its engine in every run and times that."""
    return float(run["wall_s"] - run["seconds"].get("start", 0.0))


def _rate(slopes: Iterable[Slope]) -> float | None:
    """Rows/s over all of them together: the difference of two short runs is too noisy to be averaged as a rate."""
    all_slopes = list(slopes)
    seconds = sum(seconds for _, seconds in all_slopes)
    return sum(rows for rows, _ in all_slopes) / seconds if seconds > 0 else None


def _ratio(own: dict[tuple[int, int], Slope], limit: dict[tuple[int, int], Slope]) -> float | None:
    """Marginal rate by the limit's, over the rounds both ran in."""
    both = own.keys() & limit.keys()
    ours, theirs = _rate(own[key] for key in both), _rate(limit[key] for key in both)
    return ours / theirs if ours and theirs else None


def _pairs(runs: Sequence[Line], limits: Sequence[Line]) -> list[tuple[float, float]]:
    """Rows/s of runs, each with the limit's over the same table."""
    limit_rates = {(line["session"], line["round"], line["size"]): line["size"] / line["wall_s"] for line in limits}
    keys = [(line["session"], line["round"], line["size"]) for line in runs]
    return [
        (line["size"] / line["wall_s"], limit_rates[key])
        for line, key in zip(runs, keys, strict=True)
        if key in limit_rates
    ]


def scale(lines: Iterable[Line]) -> str:
    """Planning and committing by table size."""
    sizes: dict[int, list[Line]] = defaultdict(list)
    for line in lines:
        if "scale" in line:
            sizes[line["scale"]].append(line)
    rows = []
    for size, runs in sorted(sizes.items()):
        heap = max(line["heap_end"] for line in runs)
        rows.append([
            f"{size:,}", _median((line["plan_s"] for line in runs), ".1f"), str(runs[0]["chunks"]),
            _median((line["commit_s"] for line in runs), ".1f"),
            _median((median(line["commits_s"]) for line in runs), ".2f"),
            _median((line["nothing_s"] for line in runs), ".1f"), _median((line["ten_s"] for line in runs), ".1f"),
            f"{heap:.0f}", str(len(runs)),
        ])  # fmt: skip
    head = [
        "rows", "plan s (all pending)", "chunks", "commits s", "one commit s", "job, nothing new s", "job, ten new s",
        "live heap MiB", "times",
    ]  # fmt: skip
    return markdown_table(head, rows)


def nightly(lines: Iterable[Line]) -> str:
    """The whole command by table size: over all rows, and when little or nothing changed."""
    sizes: dict[int, list[Line]] = defaultdict(list)
    for line in lines:
        if "nightly" in line:
            sizes[line["nightly"]].append(line)
    names = ("full", "unchanged", "ten", "feed_new", "feed", "percent")
    rows = []
    for size, runs in sorted(sizes.items()):
        seconds = [
            " / ".join(_median((line[name][unit] for line in runs), ".0f") for unit in ("s", "processor_s"))
            for name in names
        ]
        last, load = runs[-1], [load for line in runs for load in line["load"]]
        found, planned = last["found_bytes"] / last["source_bytes"], last["planned_bytes"] / last["labels_bytes"]
        rows.append([f"{size:,}", *seconds, f"{found:.2%}", f"{planned:.1%}", f"{min(load)} to {max(load)}"])
    head = [
        "rows", "all rows (`--full`)", "unchanged", "ten new, by files", "ten new, by feed",
        "ten edited, by feed", "1 % new",
        "of the source's bytes, read to find ten rows", "of the bytes of `labels`, read to plan them", "load",
    ]  # fmt: skip
    return markdown_table(head, rows)


def start(lines: Iterable[Line]) -> str:
    """Commands without tables or a model; of several results for one the newest."""
    newest = {line["start"]: line for line in lines if "start" in line}
    rows = [
        [name, *(f"{line[key]:.2f}" for key in ("cpu_s", "wall_s", "least_s")), str(line["n"])]
        for name, line in newest.items()
    ]
    return markdown_table(["command", "processor s", "wall s", "least wall s", "times"], rows)


def _format(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _median(values: Iterable[float], form: str) -> str:
    numbers = list(values)
    return format(median(numbers), form) if numbers else ""
