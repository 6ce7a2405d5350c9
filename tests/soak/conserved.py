"""What must hold after any number of kills, once the command has exited with 0."""

from collections import Counter
from typing import Any

from deltalake import DeltaTable

from tests.soak.job import LabelJob

CHUNKS_IN_FLIGHT = 2


def assert_conserved(job: LabelJob, interruptions: int) -> None:
    """Every content has one terminal label per policy, runs agree with labels, nothing is left staged or done twice.

    `interruptions` is how often something was killed: each may cost the chunks in flight once more, and no other call.
    """
    texts = job.texts()
    labels = read(job, "labels")
    assert Counter((row["content_id"], row["policy"]) for row in labels) == Counter(
        {(id, policy): 1 for id in texts for policy in job.policies}
    )
    wanted = {id: outcome_of(text) for id, text in texts.items()}
    wrong = [row["content_id"] for row in labels if row["outcome"] != wanted[row["content_id"]]]
    assert not wrong, f"wrong outcomes: {wrong[:10]}"
    assert_runs_agree(job, labels)
    distinct = {text for text in texts.values() if text}
    least = len(distinct) * len(job.policies)
    # Contents go to chunks by their hash, so a chunk is not exactly of its size.
    again = job.calls() - least
    assert 0 <= again <= interruptions * CHUNKS_IN_FLIGHT * job.chunk_rows * 3 // 2, f"{again} calls were made again"
    assert_reasoned(job, labels)
    left = [str(path.relative_to(job.staging)) for path in job.staging.rglob("*")] if job.staging.exists() else []
    assert not left, f"left in staging: {left[:10]}"


def assert_labelled_once(job: LabelJob) -> None:
    """Every content has one terminal label per policy, beside attempts that failed, and runs agree with labels."""
    labels = read(job, "labels")
    final = Counter((row["content_id"], row["policy"]) for row in labels if row["outcome"] != "engine_failed")
    assert final == Counter({(id, policy): 1 for id in job.texts() for policy in job.policies})
    tried = Counter((row["content_id"], row["policy"], row["attempt"]) for row in labels)
    assert set(tried.values()) == {1}
    assert_runs_agree(job, labels)


def assert_runs_agree(job: LabelJob, labels: list[dict[str, Any]]) -> None:
    """What `runs` says was written is what `labels` holds, run by run and outcome by outcome."""
    runs = read(job, "runs")
    assert max(Counter(run["run_id"] for run in runs).values()) == 1
    held = Counter((row["run_id"], row["outcome"]) for row in labels)
    said = Counter({(run["run_id"], name): count for run in runs for name, count in run["outcomes"] or ()})
    assert +said == held
    assert {run["run_id"]: run["written"] for run in runs if run["written"]} == dict(
        Counter(row["run_id"] for row in labels)
    )


def assert_reasoned(job: LabelJob, labels: list[dict[str, Any]]) -> None:
    """What the model said of every call is kept, once per call that was committed."""
    said = Counter((row["work_key"], row["run_id"]) for row in read(job, "reasoning"))
    assert not said or max(said.values()) == 1
    called = {row["work_key"] for row in labels if row["outcome"] != "empty"}
    assert called == {key for key, _ in said}


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
