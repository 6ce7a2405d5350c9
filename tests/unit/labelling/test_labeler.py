"""The labeler: everything in it that can change a label changes its hash; and which default applies."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from safeguard_spark.config.engine import Dialect
from safeguard_spark.config.load import load_config
from safeguard_spark.config.model import SecondLook
from safeguard_spark.errors import ConfigError
from safeguard_spark.labelling.labeler import DEFAULT_EFFORT, DEFAULT_MAX_TOKENS, Labeler
from safeguard_spark.policy.document import Effort, Policy, parse_policy
from tests import build
from tests.build import label_spec, policy
from tests.unit.samples import POLICY

pytestmark = pytest.mark.unit

LABELER = build.labeler(temperature=0.0, top_p=1.0, max_tokens=100, max_prompt_tokens=1000)
CHANGED = {
    "model": "n", "revision": "r", "dialect": Dialect.chat, "engine_class": "2", "effort": Effort.high,
    "temperature": 0.1, "top_p": 0.9, "max_tokens": 101, "max_prompt_tokens": 1001, "structured": False,
    "prompt_version": 0, "contract_version": 0, "salt": "noise", "second_look": SecondLook.effort,
    "escalate": 0.1,
}  # fmt: skip


def labeler(policy: Policy, **sections: Any) -> Labeler:
    return label_spec(policy, **sections).labeler


def test_changed_has_a_value_for_every_field() -> None:
    missing = set(Labeler.model_fields) - set(CHANGED)
    assert not missing, f"add other values of {sorted(missing)} to CHANGED"


@pytest.mark.parametrize("field", Labeler.model_fields)
def test_each_field_changes_the_hash(field: str) -> None:
    assert LABELER.model_copy(update={field: CHANGED[field]}).labeler_hash != LABELER.labeler_hash


def test_the_hash_is_the_one_in_existing_tables() -> None:
    # Another value here means that every row ever labelled is labelled again.
    assert LABELER.labeler_hash == "cee6a6ff293f63a6ca62122843e2e1b9439b2b94e3a69f4c9ec1ae67c13e9e38"


def test_the_hash_survives_json() -> None:
    assert Labeler.model_validate(LABELER.model_dump(mode="json")).labeler_hash == LABELER.labeler_hash


def test_no_effort_is_for_the_chat_dialect() -> None:
    none = {"labeler": {"effort": "none"}}
    assert labeler(policy(), engine={"kind": "scripted", "dialect": "chat"}, **none).effort is Effort.none
    with pytest.raises(ConfigError, match="set it to low, medium or high"):
        labeler(policy(labeler={"effort": "none"}))


def test_the_job_overrides_the_policy_and_the_policy_the_default() -> None:
    recommending = policy(labeler={"effort": "low", "max_tokens": 50})
    config = {"labeler": {"effort": "high", "max_tokens": 70}}
    assert (labeler(recommending, **config).effort, labeler(recommending, **config).max_tokens) == (Effort.high, 70)
    assert (labeler(recommending).effort, labeler(recommending).max_tokens) == (Effort.low, 50)
    assert (labeler(policy()).effort, labeler(policy()).max_tokens) == (DEFAULT_EFFORT, DEFAULT_MAX_TOKENS)
    partial = labeler(recommending, labeler={"max_tokens": 70})
    assert (partial.effort, partial.max_tokens) == (Effort.low, 70)


@pytest.mark.parametrize(
    "sections",
    [
        {"engine": {"kind": "scripted", "model": "n"}},
        {"engine": {"kind": "scripted", "model_name": "n"}},
        {"engine": {"kind": "scripted", "revision": "r"}},
        {"engine": {"kind": "scripted", "dialect": "chat"}},
        {"engine": {"kind": "scripted", "version_class": "2"}},
        {"labeler": {"effort": "high"}},
        {"labeler": {"max_tokens": 9}},
        {"labeler": {"max_prompt_tokens": 9}},
        {"labeler": {"temperature": 1}},
        {"labeler": {"top_p": 0.5}},
        {"labeler": {"structured": False}},
        {"labeler": {"second_look": "none"}},
    ],
)
def test_configuration_that_can_change_a_label_changes_the_hash(sections: dict[str, Any]) -> None:
    assert labeler(policy(), **sections).labeler_hash != labeler(policy()).labeler_hash


@pytest.mark.parametrize(
    "sections",
    [
        {"run": {"chunk_rows": 7}},
        {"engine": {"kind": "scripted", "window": 3, "args": {"latency_s": 1}}},
        {"engine": {"model": "scripted", "window": 3, "deadline_s": 1, "retries": 0, "env": {"A": "b"}}},
        {"output": "elsewhere", "spark": {"master": "local[1]"}, "tracking": {"enabled": False}},
    ],
)
def test_configuration_of_where_and_how_fast_it_runs_does_not_change_the_hash(sections: dict[str, Any]) -> None:
    assert labeler(policy(), **sections).labeler_hash == labeler(policy()).labeler_hash


@pytest.mark.parametrize(
    ("file", "recorded"),
    [
        ("gpu", "655e3d7377022bf08ae451e6981d097aa2d85962fbaaa5a4ef1c0bc80ae58613"),
        ("cluster", "655e3d7377022bf08ae451e6981d097aa2d85962fbaaa5a4ef1c0bc80ae58613"),
        ("endpoint", "b787676b9b5d881fcd2049d7198886d3668a339591f46c983fc8aaf2ed5b532c"),
        ("local", "fdfb5dfb7e3495358220b36b3296d2c987d5f5996a815a97359e63d96feeb412"),
    ],
)
def test_the_shipped_configurations_have_the_labelers_of_existing_tables(file: str, recorded: str) -> None:
    config = load_config(Path(__file__).parents[3] / "conf" / f"{file}.yaml", {}, [])
    assert Labeler.of(config, parse_policy(POLICY)).labeler_hash == recorded


def test_an_unknown_field_of_a_stored_labeler_is_refused() -> None:
    with pytest.raises(ValidationError, match="seed"):
        Labeler.model_validate({**labeler(policy()).model_dump(), "seed": 1})


def test_model_name_makes_one_labeler_of_folders_on_different_machines() -> None:
    here, there = ({"engine": {"kind": "vllm", "model": f"/{folder}/x", "model_name": "x"}} for folder in ("a", "b"))
    assert labeler(policy(), **here).labeler_hash == labeler(policy(), **there).labeler_hash
    assert labeler(policy(), **here).name == "x/medium"
