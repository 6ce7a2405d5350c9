"""A run's metrics are what Prometheus reads, and a reader never sees half a file."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from safeguard_spark.errors import ConfigError
from safeguard_spark.prometheus import HELP, metrics_text, write_metrics
from tests.build import run_result

pytestmark = pytest.mark.unit
NOON = datetime(2026, 5, 3, 12, tzinfo=UTC)


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """The value of each sample by name and labels; a family may be there once only."""
    families = list(text_string_to_metric_families(text))
    assert len({family.name for family in families}) == len(families)
    assert all(family.type == "gauge" and family.documentation for family in families)
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def test_every_figure_of_a_run_is_a_metric() -> None:
    counts = {"posts@1.0.0": {"labelled": 5, "violations": 2}, "spam@2.0.0": {"empty": 2, "violations": 0}}
    result = run_result(run_id="r7", status="partial", by_policy=counts, engine_starts=3)
    found = samples(metrics_text("r7", "partial", NOON, NOON, result))
    assert found["safeguard_run_info", (("run_id", "r7"), ("status", "partial"))] == 1
    assert found["safeguard_run_exit_code", ()] == 6
    assert found["safeguard_run_ended_timestamp_seconds", ()] == NOON.timestamp()
    assert found["safeguard_run_engine_starts", ()] == 3
    of_spam = (("outcome", "empty"), ("policy", "spam"), ("version", "2.0.0"))
    assert found["safeguard_run_labels", of_spam] == 2
    assert found["safeguard_run_violations", (("policy", "posts"), ("version", "1.0.0"))] == 2
    assert found["safeguard_run_tokens", (("kind", "cached"),)] == result.tokens["cached"]
    assert {name.removeprefix("safeguard_run_") for name, _ in found} == set(HELP)


def test_a_run_that_goes_on_has_begun_and_not_ended() -> None:
    found = samples(metrics_text("r", "running", NOON, None, None))
    assert {name for name, _ in found} == {"safeguard_run_info", "safeguard_run_started_timestamp_seconds"}


@given(st.text())
def test_any_name_is_read_back(name: str) -> None:
    (label,) = [labels for (metric, labels) in samples(metrics_text(name, "failed", NOON, NOON, None)) if labels]
    assert dict(label)["run_id"] == name


def test_a_file_is_replaced_whole_and_one_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    for text in ("a 1\n", "a 2\n"):
        write_metrics(tmp_path / "run.prom", text)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("run.prom", "a 2\n")]
    assert (tmp_path / "run.prom").stat().st_mode & 0o777 == 0o644
    with pytest.raises(ConfigError, match=r"run\.metrics_file .*none/run\.prom cannot be written: No such file"):
        write_metrics(tmp_path / "none" / "run.prom", "a 1\n")
