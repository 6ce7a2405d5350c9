"""The files that one driver stages for another: read as a whole, or refused with what to do."""

import json

import pytest

from safeguard_spark.errors import TableError
from safeguard_spark.labelling.labeler import Labeler
from safeguard_spark.policy.document import Policy
from safeguard_spark.spark.label.executor import RESULT
from safeguard_spark.spark.label.pending import Counts, StagedPlan
from safeguard_spark.spark.label.screening import StagedScreen
from safeguard_spark.spark.staging import FORMAT, Driver, Manifest, SourceVersion, StagedFile, parse_staged
from tests.build import labeler, policy
from tests.staged import manifest

pytestmark = pytest.mark.unit

LABELER = labeler()
# A manifest and a plan as the release before the formats had numbers wrote them.
WITHOUT_FORMAT = {
    Manifest: {
        "driver": {"machine": "m", "pid": 1, "born": "2"}, "started_at": "2026-01-01T00:00:00+00:00",
        "source": {"name": "posts", "version": 3}, "policies": [], "labelers": [], "config_hash": "0", "config": "{}",
        "labels_version_in": 0, "plan_id": None,
    },
    StagedPlan: {
        "policy": policy().model_dump(mode="json"), "labeler": LABELER.model_dump(mode="json"), "planned_on": 0,
        "counts": [3, 2, 1], "chunks": {"0": 1}, "has_reused": False,
    },
}  # fmt: skip


def plan(of: Policy) -> StagedPlan:
    return StagedPlan(
        policy=of, labeler=LABELER, policy_number=1, planned_on=7, counts=Counts(3, 2, 1), chunks={0: 1, 12: 0}
    )


FILES = [manifest(Driver.this_process(), failed=True), plan(policy())]


@pytest.mark.parametrize("file", FILES)
def test_a_staged_file_is_read_back_as_it_was_written(file: StagedFile) -> None:
    again = parse_staged(type(file), file.model_dump_json(), "r", "/staging/r")
    assert again == file
    if isinstance(again, StagedPlan):
        assert again.spec.policy.policy_hash == policy().policy_hash
        assert again.spec.labeler.labeler_hash == LABELER.labeler_hash
        assert (again.counts.pending, again.chunks) == (2, {0: 1, 12: 0})


@pytest.mark.parametrize("model", WITHOUT_FORMAT)
def test_a_run_staged_by_a_release_without_formats_is_refused_with_both_ways_on(model: type[StagedFile]) -> None:
    with pytest.raises(TableError) as caught:
        parse_staged(model, json.dumps(WITHOUT_FORMAT[model]), "r1", "/staging/r1")
    message = str(caught.value)
    assert message.startswith("Another release staged run r1 (format none; this release reads 1, 2, 3, 4, 5).")
    assert "with that release to commit it" in message
    assert "or delete /staging/r1: its contents are then labelled again." in message


@pytest.mark.parametrize("file", FILES)
def test_a_newer_format_is_refused_even_if_it_looks_the_same(file: StagedFile) -> None:
    text = json.dumps({**json.loads(file.model_dump_json()), "format": FORMAT + 1})
    with pytest.raises(TableError, match=rf"\(format {FORMAT + 1}; this release reads 1, 2, 3, 4, 5\)"):
        parse_staged(type(file), text, "r", "/staging/r")


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value.update(unknown=1),
        lambda value: value["labeler"].update(seed=7),
        lambda value: value["policy"].update(tone="kind"),
        lambda value: value.pop("planned_on"),
        lambda value: value.update(chunks={"first": 1}),
    ],
)
def test_a_field_that_is_unknown_missing_or_wrong_is_refused_and_nothing_is_quoted(change: object) -> None:
    value = json.loads(plan(policy()).model_dump_json())
    change(value)  # type: ignore[operator]
    with pytest.raises(TableError, match=r"plan\.json of the staged run r is damaged") as caught:
        parse_staged(StagedPlan, json.dumps(value), "r", "/staging/r")
    assert "replicas" not in str(caught.value) and "delete /staging/r" in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", '"x"'])
def test_a_file_that_is_no_object_is_damaged(text: str) -> None:
    with pytest.raises(TableError, match="damaged"):
        parse_staged(Manifest, text, "r", "/staging/r")


def test_these_fields_and_columns_are_format_5() -> None:
    # If this fails, another release's driver would misread what this one stages: raise FORMAT, and read the old one.
    assert FORMAT == 5
    assert list(Manifest.model_fields) == [
        "format", "driver", "started_at", "source", "policies", "labelers", "config_hash", "config",
        "labels_version_in", "plan_id", "failed",
    ]  # fmt: skip
    assert list(SourceVersion.model_fields) == ["name", "version", "collection", "selection", "read_at"]
    assert list(StagedPlan.model_fields) == [
        "format", "policy", "labeler", "policy_number", "planned_on", "counts", "chunks", "has_reused", "remaining",
        "activates", "given_up", "screened",
    ]  # fmt: skip
    assert list(StagedScreen.model_fields) == [
        "screen_id", "screen_hash", "kind", "run_id", "audited_up_to", "spared", "close_up_to",
    ]  # fmt: skip
    assert list(Labeler.model_fields) == [
        "model", "revision", "dialect", "engine_class", "effort", "temperature", "top_p", "max_tokens",
        "max_prompt_tokens", "structured", "second_look", "escalate", "prompt_version", "contract_version", "salt",
    ]  # fmt: skip
    assert RESULT.names == [
        "work_key", "outcome", "violation", "category", "rule_ids", "confidence", "rationale", "error",
        "finish_reason", "reasoning", "raw_output", "prompt_tokens", "cached_tokens", "completion_tokens", "effort",
        "called", "over_share", "engine_unavailable", "server_ids", "engine_error", "engine_forms", "exit_code",
    ]  # fmt: skip
