"""The run configuration: where a value comes from, and the messages for invalid values."""

import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeguard_spark.config.load import build_config, load_config, parse_assignment, parse_scalar, set_value
from safeguard_spark.config.model import Dialect, RunConfig
from safeguard_spark.errors import ConfigError
from safeguard_spark.policy.document import Effort

pytestmark = pytest.mark.unit

SCRIPTED = {"engine": {"kind": "scripted"}}


def loaded(folder: Path, text: str, environ: dict[str, str] | None = None, *settings: str) -> RunConfig:
    file = folder / "conf.yaml"
    file.write_text(text, encoding="utf-8")
    return load_config(file, environ or {}, [parse_assignment(setting) for setting in settings])


def problem(values: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        build_config(values)
    return str(caught.value)


# Where values come from


def test_the_command_line_overrides_the_environment_and_that_the_file(tmp_path: Path) -> None:
    text = "engine: {kind: scripted, window: 1, retries: 1, model: a}\n"
    environ = {"SAFEGUARD_ENGINE__WINDOW": "2", "SAFEGUARD_ENGINE__RETRIES": "2", "UNRELATED": "x"}
    engine = loaded(tmp_path, text, environ, "engine.window=3").engine
    assert (engine.window, engine.retries, engine.model) == (3, 2, "a")


def test_values_of_the_environment_and_of_set_are_read_as_yaml(tmp_path: Path) -> None:
    config = loaded(
        tmp_path, "engine: {kind: scripted}", {"SAFEGUARD_TRACKING__ENABLED": "false"},
        "labeler.temperature=0.5", "policy=[a@1.0.0, b@active]", "source.limit=null", "engine.args.words={replica: M1}",
        "output=a: b: c",
    )  # fmt: skip
    assert not config.tracking.enabled and config.labeler.temperature == 0.5 and config.source.limit is None
    assert config.policy == ("a@1.0.0", "b@active") and config.engine.args == {"words": {"replica": "M1"}}
    assert config.output == "a: b: c"  # what is not YAML stays text


def test_one_policy_needs_no_brackets(tmp_path: Path) -> None:
    assert loaded(tmp_path, "policy: a@1.0.0\nengine: {kind: scripted}").policy == ("a@1.0.0",)
    assert loaded(tmp_path, "engine: {kind: scripted}", {"SAFEGUARD_POLICY": "a@1.0.0"}).policy == ("a@1.0.0",)


def test_what_follows_spark_conf_and_engine_env_is_one_key(tmp_path: Path) -> None:
    config = loaded(
        tmp_path, "engine: {kind: scripted}\nspark:", {"SAFEGUARD_ENGINE__ENV__Hf_HOME": "/x"},
        "spark.conf.spark.sql.shuffle.partitions=4", "spark.conf.spark.ui.enabled=true", "engine.env.A.B=1.5",
    )  # fmt: skip
    assert config.spark.conf == {"spark.sql.shuffle.partitions": "4", "spark.ui.enabled": "true"}
    assert config.engine.env == {"Hf_HOME": "/x", "A.B": "1.5"}


@given(st.text(string.ascii_letters + "._-", min_size=1, max_size=30), st.text(max_size=20))
def test_any_spark_setting_can_be_set(key: str, value: str) -> None:
    values: dict[str, Any] = {**SCRIPTED}
    set_value(values, f"spark.conf.{key}", value)
    assert build_config(values).spark.conf == {key: value}


def test_an_empty_file_and_empty_sections_are_defaults(tmp_path: Path) -> None:
    config = loaded(tmp_path, "", None, "engine.kind=scripted")
    assert config == loaded(tmp_path, "source:\nrun:\nlabeler:\ntracking:\nspark:\nengine: {kind: scripted}")
    assert config == build_config(SCRIPTED)


def test_shipped_configurations_are_valid() -> None:
    configs = {file.stem: load_config(file, {}, []) for file in sorted(Path(__file__).parents[2].glob("conf/*.yaml"))}
    kinds = {name: config.engine.kind.value for name, config in configs.items()}
    assert kinds == {"local": "vllm", "gpu": "vllm", "cluster": "vllm", "endpoint": "endpoint"}


# Invalid values


@pytest.mark.parametrize(
    ("unknown", "suggestion"),
    [
        ("engine.windw", "engine.window"), ("source.textcolumn", "source.text_column"), ("labeller", "labeler"),
        ("run.chunk_row", "run.chunk_rows"), ("tracking.url", "tracking.uri"), ("effort", "labeler.effort"),
        ("labeler.window", "engine.window"), ("run.max_tokens", "labeler.max_tokens"),
    ],
)  # fmt: skip
def test_an_unknown_key_has_a_suggestion(unknown: str, suggestion: str) -> None:
    values: dict[str, Any] = {"engine": {"kind": "scripted"}}
    set_value(values, unknown, 1)
    assert problem(values) == f"Configuration: there is no key {unknown}; did you mean {suggestion}?"


def test_a_variable_for_an_unknown_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, "engine: {kind: scripted}", {"SAFEGUARD_ENGINE__WINDW": "3"})
    message = "there is no key engine.windw; did you mean engine.window?"
    assert str(caught.value) == f"Environment variable SAFEGUARD_ENGINE__WINDW: {message}"


def test_an_unknown_key_unlike_any_other_has_no_suggestion() -> None:
    assert problem({**SCRIPTED, "qqqqqq": 1}) == "Configuration: there is no key qqqqqq."


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, "engine is missing"),
        ({"engine": {}}, "engine.kind=vllm needs engine.model"),
        ({"engine": {"kind": "endpoint", "model": "m"}}, "needs engine.url"),
        ({"engine": {"kind": "endpoint", "model": "m", "url": "localhost:8000"}}, "must begin with http://"),
        ({"engine": {"kind": "scripted", "args": {"a": float("inf")}}}, "engine.args takes texts, numbers"),
        ({"engine": {"kind": "scripted", "args": {"a": {1, 2}}}}, "engine.args takes texts, numbers"),
        ({"engine": {"kind": "scripted", "args": {"max_num_seqs": 0}}}, "max_num_seqs must be a whole number"),
        ({"engine": {"kind": "scripted", "window": 0}}, "engine.window: Input should be greater than 0"),
        ({"engine": {"kind": "scripted", "deadline_s": float("inf")}}, "engine.deadline_s"),
        ({**SCRIPTED, "labeler": {"effort": "extreme"}}, "labeler.effort: Input should be 'low', 'medium' or 'high'"),
        ({**SCRIPTED, "labeler": {"temperature": 3}}, "labeler.temperature"),
        ({**SCRIPTED, "source": {"text_column": "a", "conversation_column": "b"}}, "not both"),
        ({**SCRIPTED, "run": [1]}, "run: "),
        ({**SCRIPTED, "output": "\ud800"}, "not UTF-8 text"),
    ],
)
def test_an_invalid_value_gives_one_sentence(values: dict[str, Any], expected: str) -> None:
    message = problem(values)
    assert expected in message and message.startswith("Configuration: ") and "\n" not in message


def test_all_problems_are_in_one_message() -> None:
    message = problem({"engine": {"kind": "scripted", "windw": 1}, "run": {"chunk_rows": 0}})
    assert "engine.windw" in message and "run.chunk_rows" in message


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"a: [1\nb: 2", "not valid YAML (line 2, column 2)"),
        (b"a: \xff", "not valid YAML"),
        (b"a: 2024-02-31", "not valid YAML"),
        (b"[" * 1000, "not valid YAML"),
        (b"- a", "must be `key: value` lines, not a list"),
        (b"text", "must be `key: value` lines, not a str"),
    ],
)
def test_a_file_that_is_not_a_configuration_is_named_with_the_position(
    tmp_path: Path, raw: bytes, message: str
) -> None:
    file = tmp_path / "conf.yaml"
    file.write_bytes(raw)
    with pytest.raises(ConfigError) as caught:
        load_config(file, {}, [])
    assert message in str(caught.value) and str(file) in str(caught.value)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_config(tmp_path / "none.yaml", {}, [])


@pytest.mark.parametrize("text", ["engine.window", "=3", "  =3"])
def test_set_without_key_or_value_shows_the_form(text: str) -> None:
    with pytest.raises(ConfigError, match="key=value"):
        parse_assignment(text)


def test_a_value_is_not_a_section(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"output\.x: output is a value"):
        loaded(tmp_path, "output: a\nengine: {kind: scripted}", None, "output.x=1")


@given(st.text(max_size=40))
def test_any_value_is_read_without_an_error(raw: str) -> None:
    parse_scalar(raw)


# Derived values


def test_the_hash_depends_on_every_value_and_not_on_where_it_came_from(tmp_path: Path) -> None:
    one = loaded(tmp_path, "engine: {kind: scripted, window: 3}\nrun: {chunk_rows: 20000}")
    two = loaded(tmp_path, "run:\nengine: {kind: scripted}", {"SAFEGUARD_ENGINE__WINDOW": "3"})
    assert one.config_hash == two.config_hash
    assert one.config_hash != loaded(tmp_path, "engine: {kind: scripted, window: 4}").config_hash


@pytest.mark.parametrize(
    ("engine", "window"),
    [({}, 384), ({"args": {"max_num_seqs": 3}}, 5), ({"window": 7, "args": {"max_num_seqs": 3}}, 7)],
)
def test_the_window_is_configured_or_one_and_a_half_times_max_num_seqs(engine: dict[str, Any], window: int) -> None:
    assert build_config({"engine": {"kind": "scripted", **engine}}).engine.requests_in_flight == window


def test_the_models_name_is_the_stable_one() -> None:
    engine = {"kind": "vllm", "model": "/models/x"}
    assert build_config({"engine": engine}).engine.name == "/models/x"
    assert build_config({"engine": {**engine, "model_name": "x"}}).engine.name == "x"
    assert build_config(SCRIPTED).engine.name == "scripted"


def test_words_become_enumeration_members() -> None:
    config = build_config({"engine": {"kind": "scripted", "dialect": "chat"}, "labeler": {"effort": "low"}})
    assert (config.engine.dialect, config.labeler.effort) == (Dialect.chat, Effort.low)
