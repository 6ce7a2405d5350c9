"""A run as metrics in Prometheus's text format, for the textfile collector of node exporter."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

from safeguard_spark.errors import ConfigError
from safeguard_spark.result import RunResult
from safeguard_spark.whole_files import write_files

HELP = {
    "info": "The newest run; its value is 1.",
    "started_timestamp_seconds": "When the run started.",
    "ended_timestamp_seconds": "When it ended.",
    "exit_code": "Its exit code: 0 complete, 6 partial.",
    "rows": "Source rows x policies; the same row twice counts twice.",
    "pending_rows": "Of these, without a final label when the run started.",
    "calls": "Model calls made.",
    "written_rows": "Labels written.",
    "judged_rows": "Of these, with a verdict.",
    "engine_starts": "Servers started.",
    "labels": "Labels written, by policy, version and outcome.",
    "violations": "Of these, violations.",
    "tokens": "Tokens: prompt, of which cached, and completion.",
    "phase_seconds": "Wall seconds by phase; phases overlap.",
}


def metrics_text(
    run_id: str, status: str, started_at: datetime, ended_at: datetime | None, result: RunResult | None
) -> str:
    """The metrics of a run: all of them gauges named `safeguard_run_…`. Without a result, only that there is a run."""
    lines, named = list[str](), set[str]()
    for name, labels, value in _samples(run_id, status, started_at, ended_at, result):
        if name not in named:
            named.add(name)
            lines += [f"# HELP safeguard_run_{name} {HELP[name]}", f"# TYPE safeguard_run_{name} gauge"]
        listed = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        lines.append(f"safeguard_run_{name}{{{listed}}} {value:.17g}")
    return "\n".join(lines) + "\n"


def _samples(
    run_id: str, status: str, started_at: datetime, ended_at: datetime | None, result: RunResult | None
) -> Iterator[tuple[str, Mapping[str, str], float]]:
    yield "info", {"run_id": run_id, "status": status}, 1
    yield "started_timestamp_seconds", {}, started_at.timestamp()
    if ended_at is not None:
        yield "ended_timestamp_seconds", {}, ended_at.timestamp()
    if result is None:
        return
    yield "exit_code", {}, result.exit_code
    yield "rows", {}, result.rows
    yield "pending_rows", {}, result.pending
    yield "calls", {}, result.calls
    yield "written_rows", {}, result.written
    yield "judged_rows", {}, result.judged
    yield "engine_starts", {}, result.engine_starts
    counts = [
        ({"policy": name, "version": version}, outcome, count)
        for ref, outcomes in result.by_policy.items()
        for name, _, version in [ref.partition("@")]
        for outcome, count in outcomes.items()
    ]
    for labels, outcome, count in counts:
        if outcome != "violations":
            yield "labels", {**labels, "outcome": outcome}, count
    for labels, outcome, count in counts:
        if outcome == "violations":
            yield "violations", labels, count
    for kind, count in result.tokens.items():
        yield "tokens", {"kind": kind}, count
    for phase, seconds in result.seconds.items():
        yield "phase_seconds", {"phase": phase}, seconds


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def write_metrics(file: Path, text: str) -> None:
    """Replace a file so that a reader sees the old text or the new one. Raises ConfigError."""
    try:
        write_files({file: text}, mode=0o644)  # the collector is another user
    except OSError as error:
        raise ConfigError(f"run.metrics_file {file} cannot be written: {error.strerror}. Name another file.") from error
