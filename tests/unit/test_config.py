"""The run configuration: where a value comes from, and the messages for invalid values."""

import re
import string
import traceback
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from safeguard_spark.config.engine import Dialect, EndpointConfig, Script, ScriptedConfig, VllmConfig
from safeguard_spark.config.load import build_config, load_config, parse_assignment, parse_scalar, set_value
from safeguard_spark.config.model import RunConfig
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
    text = "engine: {kind: vllm, window: 1, retries: 1, model: a}\n"
    environ = {"SAFEGUARD_ENGINE__WINDOW": "2", "SAFEGUARD_ENGINE__RETRIES": "2", "UNRELATED": "x"}
    engine = loaded(tmp_path, text, environ, "engine.window=3").engine
    assert isinstance(engine, VllmConfig) and (engine.window, engine.retries, engine.model) == (3, 2, "a")


def test_values_of_the_environment_and_of_set_are_read_as_yaml(tmp_path: Path) -> None:
    config = loaded(
        tmp_path, "engine: {kind: scripted}", {"SAFEGUARD_TRACKING__ENABLED": "false"},
        "labeler.temperature=0.5", "policy=[a@1.0.0, b@active]", "source.limit=null", "engine.args.words={replica: M1}",
        "output=a: b: c",
    )  # fmt: skip
    assert not config.tracking.enabled and config.labeler.temperature == 0.5 and config.source.limit is None
    assert config.policy == ("a@1.0.0", "b@active")
    assert config.engine == ScriptedConfig(args=Script(words={"replica": "M1"}))
    assert config.output == "a: b: c"  # what is not YAML stays text


def test_one_policy_needs_no_brackets(tmp_path: Path) -> None:
    assert loaded(tmp_path, "policy: a@1.0.0\nengine: {kind: scripted}").policy == ("a@1.0.0",)
    assert loaded(tmp_path, "engine: {kind: scripted}", {"SAFEGUARD_POLICY": "a@1.0.0"}).policy == ("a@1.0.0",)


def test_what_follows_spark_conf_and_engine_env_is_one_key(tmp_path: Path) -> None:
    config = loaded(
        tmp_path, "engine: {model: m}\nspark:", {"SAFEGUARD_ENGINE__ENV__Hf_HOME": "/x"},
        "spark.conf.spark.sql.shuffle.partitions=4", "spark.conf.spark.ui.enabled=true", "engine.env.A.B=1.5",
    )  # fmt: skip
    assert config.spark.conf == {"spark.sql.shuffle.partitions": "4", "spark.ui.enabled": "true"}
    assert isinstance(config.engine, VllmConfig)
    assert config.engine.env == {"Hf_HOME": "/x", "A.B": "1.5"}


@given(st.text(string.ascii_letters + "._-", min_size=1, max_size=30), st.text(max_size=20))
def test_any_spark_setting_can_be_set(key: str, value: str) -> None:
    values: dict[str, Any] = {**SCRIPTED}
    set_value(values, f"spark.conf.{key}", value)
    assert build_config(values).spark.conf == {key: value}


def test_a_user_of_the_environment_keeps_the_case_of_the_name(tmp_path: Path) -> None:
    config = loaded(tmp_path, "engine: {kind: scripted}", {"SAFEGUARD_REVIEW__USERS__Ada_L": "lead"})
    assert config.review.users == {"Ada_L": "lead"}


def test_an_empty_file_and_empty_sections_are_defaults(tmp_path: Path) -> None:
    config = loaded(tmp_path, "", None, "engine.kind=scripted")
    assert config == loaded(tmp_path, "source:\nrun:\nlabeler:\ntracking:\nspark:\nengine: {kind: scripted}")
    assert config == build_config(SCRIPTED)


def test_shipped_configurations_are_valid() -> None:
    configs = {file.stem: load_config(file, {}, []) for file in sorted(Path(__file__).parents[2].glob("conf/*.yaml"))}
    kinds = {name: config.engine.kind for name, config in configs.items()}
    assert kinds == {"local": "vllm", "gpu": "vllm", "cluster": "vllm", "endpoint": "endpoint"}
    assert not [name for name, config in configs.items() if config.tracking.uri]  # none needs another's server


# Invalid values


@pytest.mark.parametrize(
    ("unknown", "suggestion"),
    [
        ("engine.windw", "engine.window"), ("source.textcolumn", "source.text_column"), ("labeller", "labeler"),
        ("run.chunk_row", "run.chunk_rows"), ("tracking.url", "tracking.uri"), ("effort", "labeler.effort"),
        ("labeler.window", "engine.window"), ("run.max_tokens", "labeler.max_tokens"),
        ("engine.args.wrds", "engine.args.words"),
    ],
)  # fmt: skip
def test_an_unknown_key_has_a_suggestion(unknown: str, suggestion: str) -> None:
    values: dict[str, Any] = {"engine": {"kind": "scripted"}}
    set_value(values, unknown, 1)
    assert problem(values) == f"Configuration: there is no key {unknown}; did you mean {suggestion}?"


def test_a_colon_without_a_space_is_named() -> None:
    values: dict[str, Any] = {"engine": {"kind": "scripted"}}
    set_value(values, *parse_assignment("engine.args.words={voucher:FR1}"))
    assert problem(values) == (
        "Configuration: engine.args.words.voucher:FR1 has no value: write a space after its colon."
    )


@pytest.mark.parametrize(
    ("kind", "key", "owner"),
    [
        ("scripted", "restarts", "vllm"), ("scripted", "idle_s", "vllm"), ("scripted", "url", "endpoint"),
        ("scripted", "retries", "endpoint and vllm"), ("vllm", "url", "endpoint"), ("vllm", "api_key_env", "endpoint"),
        ("endpoint", "args", "scripted and vllm"),
        ("endpoint", "restarts", "vllm; did you mean engine.retries?"),
        ("endpoint", "start_deadline_s", "vllm; did you mean engine.deadline_s?"),
    ],
)  # fmt: skip
def test_a_key_that_the_kind_of_engine_would_ignore_is_an_error(kind: str, key: str, owner: str) -> None:
    required = {"scripted": {}, "endpoint": {"model": "m", "url": "http://a"}, "vllm": {"model": "m"}}[kind]
    expected = f"Configuration: engine.kind={kind} has no key engine.{key}, which is for {owner}"
    assert problem({"engine": {"kind": kind, **required, key: 1}}).removesuffix(".") == expected


VLLM = "engine: {model: /m, model_name: m, dialect: chat, restarts: 1, window: 9, args: {max_num_seqs: 8}}"


def test_the_section_of_another_kind_of_engine_is_left_out_when_the_kind_changes(tmp_path: Path) -> None:
    changes: list[tuple[dict[str, str], list[str]]] = [
        ({"SAFEGUARD_ENGINE__KIND": "scripted"}, []), ({}, ["engine.kind=scripted"]),
    ]  # fmt: skip
    for environ, settings in changes:
        engine = loaded(tmp_path, VLLM, environ, *settings).engine
        assert engine == ScriptedConfig(dialect=Dialect.chat, window=9)  # answers nothing in the name of the model
    settings = ["engine.kind=endpoint", "engine.url=http://a", "engine.retries=1"]
    endpoint = loaded(tmp_path, VLLM, {"SAFEGUARD_ENGINE__IDLE_S": "5"}, *settings).engine
    expected = {"url": "http://a", "model": "/m", "model_name": "m", "dialect": "chat", "window": 9, "retries": 1}
    assert endpoint == EndpointConfig.model_validate(expected)
    assert loaded(tmp_path, VLLM, {}, "engine.kind=vllm") == loaded(tmp_path, VLLM)


def test_a_key_on_the_level_that_changes_the_kind_must_be_one_of_the_new_kind(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"engine\.kind=scripted has no key engine\.restarts"):
        loaded(tmp_path, VLLM, None, "engine.kind=scripted", "engine.restarts=3")
    with pytest.raises(ConfigError, match=r"engine\.kind=scripted has no key engine\.restarts"):
        loaded(tmp_path, VLLM, {"SAFEGUARD_ENGINE__KIND": "scripted"}, "engine.restarts=3")


def test_a_variable_for_an_unknown_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, "engine: {kind: scripted}", {"SAFEGUARD_ENGINE__WINDW": "3"})
    message = "there is no key engine.windw; did you mean engine.window?"
    assert str(caught.value) == f"Environment variable SAFEGUARD_ENGINE__WINDW: {message}"


def test_an_unknown_key_unlike_any_other_has_no_suggestion() -> None:
    assert problem({**SCRIPTED, "qqqqqq": 1}) == "Configuration: there is no key qqqqqq."


@pytest.mark.parametrize("mistaken", ["sk-sesame", "Bearer sesame", "se.sa.me", 8315, ["sesame"], "sésame=="])
def test_a_key_in_place_of_a_variables_name_is_refused_and_not_repeated(mistaken: Any) -> None:
    engine = {"kind": "endpoint", "model": "m", "url": "http://a"}
    with pytest.raises(ConfigError, match="must be the name of an environment variable") as caught:
        build_config({"engine": {**engine, "api_key_env": mistaken}})
    with_debug = "".join(traceback.format_exception(caught.value))
    assert "sesame" not in with_debug.replace("mistaken", "") and "8315" not in with_debug
    assert build_config({"engine": {**engine, "api_key_env": "a_Key2"}}).engine.api_key_env == "a_Key2"  # type: ignore[union-attr]


def test_no_error_repeats_a_password_in_an_address() -> None:
    settings = {"kind": "endpoint", "model": "m", "url": "me:sesame@host:8000"}
    with pytest.raises(ConfigError, match=r"engine\.url must begin with") as caught:
        build_config({"engine": settings})
    assert "sesame" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, "engine is missing"),
        ({"engine": {}}, "engine.kind=vllm needs engine.model"),
        ({"engine": {"kind": "endpoint", "model": "m"}}, "needs engine.url"),
        ({"engine": {"kind": "endpoint", "model": "m", "url": "localhost:8000"}}, "must begin with http://"),
        ({"engine": {"kind": "endpoint", "url": "http://a"}}, "engine.kind=endpoint needs engine.model"),
        ({"engine": {"kind": "vlm"}}, "engine.kind must be one of scripted, endpoint, vllm, not `vlm`"),
        ({"engine": {"kind": 3}}, "engine.kind must be one of scripted, endpoint, vllm, not `3`"),
        ({"engine": 3}, "engine must be lines of `key: value`, not the number 3"),
        ({"engine": {"model": "m", "args": {"a": float("inf")}}}, "engine.args takes texts, numbers"),
        ({"engine": {"model": "m", "args": {"a": {1, 2}}}}, "engine.args takes texts, numbers"),
        ({"engine": {"model": "m", "args": {"max_num_seqs": 0}}}, "max_num_seqs must be a whole number"),
        (
            {"engine": {"kind": "scripted", "args": {"noise": 2}}},
            "engine.args.noise must be at most 1, not the number 2",
        ),
        (
            {"engine": {"kind": "scripted", "args": {"misbehave": {"a": "explode"}}}},
            "engine.args.misbehave.a must be one of",
        ),
        ({"engine": {"kind": "scripted", "window": 0}}, "engine.window must be above 0, not the number 0"),
        ({"engine": {"model": "m", "deadline_s": float("inf")}}, "engine.deadline_s"),
        (
            {**SCRIPTED, "labeler": {"effort": "extreme"}},
            "labeler.effort must be one of none, low, medium, high, not",
        ),
        ({**SCRIPTED, "labeler": {"temperature": 3}}, "labeler.temperature"),
        ({**SCRIPTED, "source": {"text_column": "a", "conversation_column": "b"}}, "not both"),
        ({**SCRIPTED, "run": [1]}, "run must be lines of `key: value`, not a list"),
        ({**SCRIPTED, "output": "\ud800"}, "not UTF-8 text"),
    ],
)
def test_an_invalid_value_gives_one_sentence(values: dict[str, Any], expected: str) -> None:
    message = problem(values)
    assert expected in message and message.startswith("Configuration: ") and "\n" not in message


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"policy": {"spam": 1}}, "policy must be a list, such as [a, b], not lines of `key: value`"),
        ({"policy": ["spam@1.0.0", 2]}, "entry 2 of `policy` must be a text, not the number 2"),
        ({"source": {"version": "newest"}}, "source.version must be a whole number, not `newest`"),
        ({"relabel": {"gate": {"min_coverage": 99}}}, "relabel.gate.min_coverage must be at most 1, not the number 99"),
        ({"tracking": {"enabled": "sometimes"}}, "tracking.enabled must be true or false, not `sometimes`"),
        ({"labeler": {"top_p": 0}}, "labeler.top_p must be above 0, not the number 0"),
        ({"spark": "local"}, "spark must be lines of `key: value`, not `local`"),
        ({"spark": {"conf": {7: "a"}}}, "a key of `spark.conf` must be a text, not the number 7"),
        ({"output": False}, "output must be a text, not false (as YAML also reads no and off)"),
    ],
)
def test_a_wrong_value_is_explained_without_the_words_of_a_library(values: dict[str, Any], expected: str) -> None:
    message = problem({**SCRIPTED, **values})
    assert expected in message
    assert not re.search(r"Input|instance of|tuple|valid (string|integer)|dictionary", message)


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("output: a\npolicy: b\noutput: c\n", 3, "output"),
        ("engine: {kind: scripted, window: 4, window: 5}\n", 1, "window"),
    ],
)
def test_a_key_that_is_there_twice_is_refused(tmp_path: Path, text: str, line: int, key: str) -> None:
    file = tmp_path / "conf.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=rf"line {line}: `{key}` is there a second time; keep one of them\."):
        load_config(file, {}, [])


def test_all_problems_are_in_one_message() -> None:
    message = problem({"engine": {"kind": "scripted", "windw": 1}, "run": {"chunk_rows": 0}})
    assert "engine.windw" in message and "run.chunk_rows" in message


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"a: [1\nb: 2", "line 1, column 4: the bracket that opens here is not closed by `]`"),
        (b"a: \xff", "is not UTF-8 text (byte 3): save it as UTF-8"),
        (b"a: 2024-02-31", "column 4: `2024-02-31` is read as a date, and there is no such day"),
        (b"[" * 20, "the bracket that opens here is never closed"),
        (b"[" * 1000, "column 101: more than 100 lists and mappings are inside each other"),
        (b"- a", "must be `key: value` lines, not a list"),
        (b"text", "must be `key: value` lines, not `text`"),
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
def test_any_value_is_read_as_yaml_or_else_kept_as_it_is(raw: str) -> None:
    try:
        expected = yaml.safe_load(raw)
    except (yaml.YAMLError, ValueError):
        expected = raw
    assert repr(parse_scalar(raw)) == repr(expected)  # .nan is not equal to itself


@given(st.text(string.ascii_letters + " /@:[", min_size=1))
def test_a_value_in_quotes_is_that_text(text: str) -> None:
    assert parse_scalar(f"'{text}'") == text


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
    assert build_config({"engine": {"model": "m", **engine}}).engine.requests_in_flight == window
    assert build_config(SCRIPTED).engine.requests_in_flight == 384


def test_the_models_name_is_the_stable_one() -> None:
    engine = {"kind": "vllm", "model": "/models/x"}
    assert build_config({"engine": engine}).engine.name == "/models/x"
    assert build_config({"engine": {**engine, "model_name": "x"}}).engine.name == "x"
    assert build_config(SCRIPTED).engine.name == "scripted"


def test_words_become_enumeration_members() -> None:
    config = build_config({"engine": {"kind": "scripted", "dialect": "chat"}, "labeler": {"effort": "low"}})
    assert (config.engine.dialect, config.labeler.effort) == (Dialect.chat, Effort.low)
