"""What must be true after any number of kills, once the command has exited with 0."""

from collections import Counter
from typing import Any

from deltalake import DeltaTable

from tests.soak.job import LabelJob

CHUNKS_IN_FLIGHT = 2


def assert_conserved(job: LabelJob, interruptions: int) -> None:
    """Every content has one final label per policy, `runs` agrees with `labels`, and nothing is staged or doubled.

    `interruptions` is the number of kills. Each may repeat the calls of the chunks in flight, and no other call.
    """
    texts = job.texts()
    labels = read(job, "labels")
    assert Counter((row["content_id"], row["policy"]) for row in labels) == Counter(
        {(id, policy): 1 for id in texts for policy in job.policies}
    )
    expected = {id: outcome_of(text) for id, text in texts.items()}
    wrong = [row["content_id"] for row in labels if row["outcome"] != expected[row["content_id"]]]
    assert not wrong, f"wrong outcomes: {wrong[:10]}"
    assert_runs_agree(job, labels)
    distinct = {text for text in texts.values() if text}
    repeated = job.calls() - len(distinct) * len(job.policies)
    # Contents are assigned to chunks by hash, so a chunk is only about as large as `chunk_rows`.
    max_repeated = interruptions * CHUNKS_IN_FLIGHT * job.chunk_rows * 3 // 2
    assert 0 <= repeated <= max_repeated, f"{repeated} calls were repeated"
    assert_reasoning_kept(job, labels)
    staged = [str(path.relative_to(job.staging)) for path in job.staging.rglob("*")] if job.staging.exists() else []
    assert not staged, f"left in staging: {staged[:10]}"


def assert_labelled_once(job: LabelJob) -> None:
    """Every content has one final label per policy in addition to failed attempts, and `runs` agrees with `labels`."""
    labels = read(job, "labels")
    final = Counter((row["content_id"], row["policy"]) for row in labels if row["outcome"] != "engine_failed")
    assert final == Counter({(id, policy): 1 for id in job.texts() for policy in job.policies})
    attempts = Counter((row["content_id"], row["policy"], row["attempt"]) for row in labels)
    assert set(attempts.values()) == {1}
    assert_runs_agree(job, labels)


def assert_runs_agree(job: LabelJob, labels: list[dict[str, Any]]) -> None:
    """`runs` and `labels` have the same numbers, for each run and each outcome."""
    runs = read(job, "runs")
    assert max(Counter(run["run_id"] for run in runs).values()) == 1
    in_labels = Counter((row["run_id"], row["outcome"]) for row in labels)
    in_runs = Counter({(run["run_id"], name): count for run in runs for name, count in run["outcomes"] or ()})
    assert +in_runs == in_labels
    assert {run["run_id"]: run["written"] for run in runs if run["written"]} == dict(
        Counter(row["run_id"] for row in labels)
    )


def assert_reasoning_kept(job: LabelJob, labels: list[dict[str, Any]]) -> None:
    """`reasoning` has exactly one row for each committed call."""
    reasoning = Counter((row["work_key"], row["run_id"]) for row in read(job, "reasoning"))
    assert not reasoning or max(reasoning.values()) == 1
    called = {row["work_key"] for row in labels if row["outcome"] != "empty"}
    assert called == {key for key, _ in reasoning}


def outcome_of(text: str | None) -> str:
    """The outcome of a content under the script."""
    if not text:
        return "empty"
    word = text.split()[0]
    return {"zzrefuse": "refused", "zzgarbage": "unparseable", "zzcut": "truncated"}.get(word, "labelled")


def read(job: LabelJob, table: str) -> list[dict[str, Any]]:
    """A label table's rows, read without Spark."""
    rows: list[dict[str, Any]] = DeltaTable(str(job.tables / table)).to_pyarrow_table().to_pylist()
    return rows
