"""The bench's workload and its arithmetic, on which its figures are based."""

import json
from pathlib import Path

import pytest

from safeguard_spark.labelling import verdict
from safeguard_spark.labelling.contract import Contract
from safeguard_spark.labelling.verdict import Completion, Outcome
from tests.bench import report, workload

pytestmark = pytest.mark.unit


def test_an_answer_has_the_length_its_prompt_decides_and_reads_as_labelled() -> None:
    policy = workload.policy()
    for text in workload.contents(200, seed=1):
        prompt = workload.prompt(policy.body, text)
        tokens = workload.script(prompt)
        assert len(tokens) == workload.length(prompt) <= workload.MAX_TOKENS
        assert verdict.read(Completion("stop", tokens), Contract.of(policy)).outcome is Outcome.labelled


def test_lengths_are_long_tailed() -> None:
    lengths = sorted(workload.length([number]) for number in range(20_000))
    assert 60 < sum(lengths) / len(lengths) < 70
    assert 550 < lengths[19_800] < 620


def test_contents_are_all_different_and_the_same_for_the_same_seed() -> None:
    assert len(set(workload.contents(500, seed=3)) | set(workload.contents(500, seed=4))) == 1000
    assert workload.contents(20, seed=3) == workload.contents(20, seed=3)


def test_copies_of_a_table_differ_from_the_first_word_and_have_the_same_answers() -> None:
    body = workload.policy().body
    pairs = zip(workload.contents(50, seed=3), workload.contents(50, seed=3, copy=1), strict=True)
    prompts = [(workload.prompt(body, one), workload.prompt(body, other)) for one, other in pairs]
    assert all(one != other and workload.script(one) == workload.script(other) for one, other in prompts)


def run(kind: str, size: int, wall_s: float, **more: object) -> dict[str, object]:
    return {
        "model": "m", "kind": kind, "setting": {}, "session": 1, "round": 0, "size": size, "wall_s": wall_s,
        "output_tokens": size, "prompt_tokens": 10, "cached_tokens": 5, "peak_mib": 1.0,
        "engine_starts": 1, "seconds": {}, **more,
    }  # fmt: skip


def test_the_marginal_rate_cancels_what_a_run_costs_whatever_its_size() -> None:
    lines = [run("limit", 100, 10.0), run("limit", 300, 20.0), run("job", 100, 60.0), run("job", 300, 70.0)]
    rows = report.speed(lines).splitlines()[2:]
    assert [line.split(" | ")[2:4] for line in rows] == [["20.0", "1.00"], ["20.0", "1.00"]]


def test_a_timed_engine_start_is_no_part_of_the_marginal_rate() -> None:
    lines = [run("limit", 100, 10.0), run("limit", 300, 20.0)]
    lines += [run("daft", 100, 40.0, seconds={"start": 30.0}), run("daft", 300, 80.0, seconds={"start": 60.0})]
    assert report.speed(lines).splitlines()[3].split(" | ")[2:4] == ["20.0", "1.00"]


def test_power_has_a_column_where_it_was_read() -> None:
    lines = [run("limit", 100, 10.0, watts=310.4), run("limit", 300, 20.0, watts=402.6)]
    head, _, row = report.speed(lines).splitlines()
    assert head.endswith("| GPU watts |") and row.endswith("| 403 |")
    assert "watts" not in report.speed([run("limit", 100, 10.0, watts=None)])


def test_runs_of_different_sessions_are_not_compared() -> None:
    lines = [run("limit", 100, 10.0), run("limit", 300, 20.0), run("job", 100, 6.0, session=2)]
    assert report.speed(lines).splitlines()[3].split(" | ")[3:5] == ["", ""]


def test_a_report_leaves_tables_alone_that_it_has_no_results_for(tmp_path: Path) -> None:
    lines = [{"start": "`check`", "cpu_s": cpu_s, "wall_s": 1.0, "least_s": 0.5, "n": 7} for cpu_s in (0.3, 0.2)]
    (tmp_path / "results").write_text("".join(json.dumps(line) + "\n" for line in lines))
    page = "<!-- speed -->\nas it was\n<!-- /speed -->\n<!-- start -->\n<!-- /start -->\n"
    (tmp_path / "page").write_text(page)
    report.write_report(tmp_path / "results", tmp_path / "page")
    written = (tmp_path / "page").read_text()
    assert (
        "as it was" in written
        and written.count("| `check` |") == 1
        and "| `check` | 0.20 | 1.00 | 0.50 | 7 |" in written
    )
