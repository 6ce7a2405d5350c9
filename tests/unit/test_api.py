"""The Python interface: what is loaded when, what type checkers accept, and one verdict per content, in order."""

import json
import os
import pkgutil
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import safeguard_spark as sg
from safeguard_spark.config.engine import VllmConfig
from safeguard_spark.labelling.content import from_text
from safeguard_spark.policy.alias import Alias
from safeguard_spark.tracking.registry import Registry
from tests import build
from tests.faulty_server import Behavior, Call, FaultyServer, always, closed, cut, malformed, row_of, slow, status
from tests.unit.samples import POLICY, write_policy

pytestmark = pytest.mark.unit
ROOT = Path(__file__).parents[2]
HEAVY = ("pyspark", "delta", "pandas", "pyarrow", "mlflow", "vllm", "torch")
SCRIPT = {**build.SCRIPT, "words": {"replica": "M1", "stolen": "M2"}}
OUTCOMES = {"zzrefuse": "refused", "zzgarbage": "unparseable", "zzcut": "truncated", "zzfail": "engine_failed"}
CONFIG = sg.build_config({"engine": {"kind": "scripted", "args": SCRIPT}})


@pytest.fixture(scope="session")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_policy(tmp_path_factory.mktemp("policies"), cases=None)


@pytest.fixture(scope="session")
def policy(market: Path) -> sg.Policy:
    return sg.load_policy(market)


def fresh(code: str, *argv: str) -> list[str]:
    """What code in an interpreter of its own prints, by lines."""
    done = subprocess.run([sys.executable, "-c", code, *argv], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.split("\n")


# Names


def test_every_name_is_there_and_is_listed_and_hides_no_module() -> None:
    modules = {module.name for module in pkgutil.iter_modules(sg.__path__)}
    assert set(sg.__all__) <= set(dir(sg))
    assert all(getattr(sg, name).__name__ == name for name in sg.__all__)
    assert not modules & set(sg.__all__)
    with pytest.raises(AttributeError, match="'no_such_name'"):
        _ = sg.no_such_name  # type: ignore[attr-defined]


def test_importing_the_package_loads_nothing_else() -> None:
    (printed, _) = fresh(f"""
import sys
before = set(sys.modules)
import safeguard_spark as sg
dir(sg)
new = {{name.partition(".")[0] for name in set(sys.modules) - before}}
ours = [name for name in sys.modules if name.startswith("safeguard_spark.")]
print(ours, sorted(new & {{*{HEAVY!r}, "pydantic", "yaml", "openai_harmony", "aiohttp"}}))""")
    assert printed == "[] []"


def test_judging_loads_no_spark_pandas_or_mlflow(market: Path) -> None:
    (loaded, verdicts, _) = fresh(
        f"""
import json, sys
import safeguard_spark as sg
config = sg.build_config(json.loads(sys.argv[1]))
verdicts = sg.judge(sg.load_policy(sys.argv[2], config), ["a replica", "a chair", None], config)
print(sorted(set({HEAVY!r}) & set(sys.modules)))
print([verdict.violation for verdict in verdicts])""",
        json.dumps({"engine": {"kind": "scripted", "args": SCRIPT}}),
        str(market),
    )
    assert (loaded, verdicts) == ("[]", "[True, False, None]")


# Types

USER = """\
from datetime import UTC, datetime

import safeguard_spark as sg

config: sg.RunConfig = sg.load_config("conf/local.yaml", ["engine.window=8"])
config = sg.load_config("conf/local.yaml", {"engine.window": 8})
config = sg.build_config({"engine": {"kind": "scripted"}}, {"output": "./tables"})
policy: sg.Policy = sg.load_policy("spam@1.1.0", config)

try:
    verdicts: list[sg.Verdict] = sg.judge(policy, (text for text in ["a", b"b", None]), config)
    verdicts += sg.judge("spam@active", [[("user", "hi")], [{"role": "user", "content": "hi"}]], config)
    safe: bool = verdicts[0].outcome is sg.Outcome.labelled and not verdicts[0].violation
except (sg.ConfigError, sg.PolicyError, sg.EngineError) as error:
    code: int = error.exit_code

spark = sg.session(config)
try:
    result: sg.RunResult = sg.dry_run(config, policy, spark=spark)
    result = sg.label_table(config, policy, "hate@1.1.0", progress=False)
except (sg.SourceError, sg.TableError, sg.TrackingError, sg.GateError, sg.SafeguardError) as error:
    raise SystemExit(error.exit_code) from error
sg.register_sql(config, policy, name="is_spam", spark=spark)
tables: sg.LabelTables = sg.open_tables(config)
count: int = tables.labels_current.count() + tables.labels_as_of(datetime.now(UTC)).count()
query: str = sg.labels_current_sql()
evaluation: sg.Evaluation = sg.evaluate(config, policy, sets=["spam-cases"], versus=["labeler.effort=high"])
"""
WRONG = [
    ('sg.judge("spam@1.1.0", [1, 2], config)', "list-item"),
    ('sg.judge("spam@1.1.0", ["text"])', "call-arg"),
    ('sg.label_table("conf/local.yaml")', "arg-type"),
    ('sg.load_policy("spam@1.1.0", "conf/local.yaml")', "arg-type"),
    ("sg.no_such_name", "attr-defined"),
    ('sg.open_tables("./tables").labels_as_of("2026-05-03")', "arg-type"),
    ("sg.register_sql(config, policy, title=1)", "call-arg"),
]


def test_the_script_for_type_checkers_uses_every_name() -> None:
    assert not [name for name in sg.__all__ if f"sg.{name}" not in USER]


@pytest.mark.slow  # it reads the types of PySpark, which takes longer than all other tests of this file
def test_mypy_strict_accepts_a_script_that_uses_every_name_and_finds_wrong_ones(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(USER + "".join(f"{line}\n" for line, _ in WRONG), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={ROOT / '.mypy_cache' / 'user'}",
         "--follow-imports=silent", str(script)],
        env={**os.environ, "MYPYPATH": str(ROOT)}, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    first = USER.count("\n") + 1
    found = [(int(line), code) for line, code in re.findall(r"script\.py:(\d+): error: .* \[(.+)\]", done.stdout)]
    assert sorted(set(found)) == [(first + n, code) for n, (_, code) in enumerate(WRONG)], done.stdout + done.stderr


# Judging

texts = st.text(max_size=20) | st.sampled_from(["a replica", "stolen", "two replica, stolen", *OUTCOMES])
turns = st.tuples(st.none() | st.sampled_from(["user", "assistant"]), st.none() | texts)
chat_turns = st.fixed_dictionaries({"role": st.just("user")}, optional={"content": texts, "text": texts, "n": texts})
odd = (
    st.none() | st.integers() | st.floats() | st.binary(max_size=8) | st.dictionaries(texts, texts) | st.just(object())
)
contents = st.lists(texts | st.lists(turns | chat_turns | odd, max_size=3) | odd, max_size=12)


@given(contents)
def test_every_content_has_one_verdict_in_its_place(policy: sg.Policy, values: list[Any]) -> None:
    verdicts = sg.judge(policy, iter(values), CONFIG)
    assert len(verdicts) == len(values)
    # Alone, a content gets the verdict it gets among others: none is mixed up.
    assert verdicts == [verdict for value in values for verdict in sg.judge(policy, [value], CONFIG)]
    for value, verdict in zip(values, verdicts, strict=True):
        assert (verdict.violation is None) == (verdict.outcome is not sg.Outcome.labelled)
        if isinstance(value, str) and not from_text(value).is_empty:
            bad = next((outcome for word, outcome in OUTCOMES.items() if word in value), "labelled")
            assert verdict.outcome == bad


@pytest.mark.parametrize(
    ("value", "outcome"),
    [
        (None, "empty"),
        ("", "empty"),
        (" \n", "empty"),
        (float("nan"), "empty"),
        (pd.NA, "empty"),
        (pd.NaT, "empty"),
        ([], "empty"),
        ([("user", "replica"), ("user", "")], "empty"),
        (b"a replica", "labelled"),
        ([("user", "hello"), ("user", "a replica")], "labelled"),
        ([{"role": "user", "content": "a replica"}], "labelled"),
        (({"role": "user", "text": "a replica"},), "labelled"),
        (b"\xff", "invalid_content"),
        ("\ud800", "invalid_content"),
        (7, "invalid_content"),
        ({"role": "user", "content": "a replica"}, "invalid_content"),
        (["a replica"], "invalid_content"),
        ([{"role": "user"}], "invalid_content"),
        ([("user", {7})], "invalid_content"),
        ("x" * 1_000_000, "too_long"),
    ],
)
def test_a_content_that_is_no_text_has_its_outcome(policy: sg.Policy, value: Any, outcome: str) -> None:
    (verdict,) = sg.judge(policy, [value], CONFIG)
    assert verdict.outcome == outcome
    assert verdict.violation is (True if outcome == "labelled" else None)
    assert "replica" not in (verdict.error or "")


def test_an_array_of_turns_as_pandas_reads_it_from_parquet_is_a_conversation(policy: sg.Policy) -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"turns": [pd.array([{"role": "user", "content": "a replica"}], dtype=object).to_numpy()]})
    (verdict,) = sg.judge(policy, frame["turns"], CONFIG)
    assert verdict.category == "counterfeit"


def test_identical_contents_each_have_a_verdict(policy: sg.Policy) -> None:
    verdicts = sg.judge(policy, ["a replica", "a chair"] * 50, CONFIG)
    assert [verdict.violation for verdict in verdicts] == [True, False] * 50


def test_threads_of_a_service_judge_at_once(policy: sg.Policy) -> None:
    with FaultyServer(always(slow(0.05))) as server, ThreadPoolExecutor(8) as threads:
        config = endpoint(server)
        each = [threads.submit(sg.judge, policy, [f"row {n}", "", f"row {n + 100}"], config) for n in range(24)]
        rationales = [[verdict.rationale for verdict in future.result()] for future in each]
    assert rationales == [[f"row {n}", None, f"row {n + 100}"] for n in range(24)]
    assert server.max_open > 2


@pytest.mark.parametrize("value", ["a replica", b"a replica", {"a": "replica"}])
def test_one_text_in_the_place_of_a_list_is_refused(policy: sg.Policy, value: Any) -> None:
    with pytest.raises(TypeError, match=r"write \[text\]"):
        sg.judge(policy, value, CONFIG)


def behavior_of(call: Call) -> Behavior:
    """Every third row answered, and the others failed in some way."""
    ways = (Behavior(), Behavior(), malformed(), closed(), cut(), status(400))
    return ways[max(0, row_of(call.text)) % len(ways)]


def endpoint(server: FaultyServer, **more: Any) -> sg.RunConfig:
    engine = {"kind": "endpoint", "url": server.url, "model": server.model or "m", "deadline_s": 5, "retries": 0}
    return sg.build_config({"engine": {**engine, "dialect": "chat", **more}})


def test_an_endpoint_that_misbehaves_costs_no_verdict_and_no_order(policy: sg.Policy) -> None:
    with FaultyServer(behavior_of) as server:
        verdicts = sg.judge(policy, (f"row {n}" for n in range(60)), endpoint(server, window=7))
    expected = ["labelled", "labelled", *["engine_failed"] * 4] * 10
    assert [verdict.outcome for verdict in verdicts] == expected
    rationales = [(n, verdict.rationale) for n, verdict in enumerate(verdicts) if verdict.outcome == "labelled"]
    assert rationales == [(n, f"row {n}") for n in range(60) if n % 6 < 2]


def test_an_engine_that_refuses_the_key_or_cannot_be_reached_raises_one_sentence(policy: sg.Policy) -> None:
    with FaultyServer(always(status(401))) as server, pytest.raises(sg.EngineError, match=r"api_key_env") as refused:
        sg.judge(policy, ["a", "b"], endpoint(server))
    gone = sg.build_config({"engine": {"kind": "endpoint", "url": "unix:/nowhere.sock", "model": "m", "deadline_s": 1}})
    with pytest.raises(sg.EngineError, match=r"^Engine at .* cannot be reached: .*\.$"):
        sg.judge(policy, [None, "a", "b"], gone)
    assert refused.value.exit_code == 5
    assert [v.outcome for v in sg.judge(policy, [None, ""], gone)] == ["empty"] * 2  # asks nothing, reaches nothing


# Configurations and policies


def test_a_configuration_is_read_from_file_environment_and_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("output: ./tables\nengine: {model: m, window: 4, retries: 1}\n", encoding="utf-8")
    monkeypatch.setenv("SAFEGUARD_ENGINE__RETRIES", "2")
    monkeypatch.setenv("SAFEGUARD_ENGINE__WINDOW", "5")
    for settings in (["engine.window=6"], {"engine.window": 6}, "engine.window=6"):
        engine = sg.load_config(str(file), settings).engine
        assert isinstance(engine, VllmConfig) and (engine.window, engine.retries) == (6, 2)
    values = {"engine": {"kind": "scripted", "args": {"words": {"a": "M1"}}}, "engine.model": "n"}
    built = sg.build_config(values, ["engine.window=7"])
    assert (built.engine.window, built.engine.model) == (7, "n")  # the environment plays no part
    assert values == {"engine": {"kind": "scripted", "args": {"words": {"a": "M1"}}}, "engine.model": "n"}
    with pytest.raises(sg.ConfigError, match=r"no key engine\.windw; did you mean engine\.window\?"):
        sg.build_config({"engine": {"kind": "scripted", "windw": 1}})


def test_a_policy_is_a_file_a_version_or_an_alias(
    market: Path, empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "mlflow.db"
    store.write_bytes(empty_store.read_bytes())
    config = sg.build_config({
        "engine": {"kind": "scripted", "args": SCRIPT},
        "policies": market.parents[2],
        "tracking": {"uri": f"sqlite:///{store}"},
    })  # fmt: skip
    registry = Registry.of(config)
    registry.publish(POLICY, "passed", "")
    registry.set_alias("market", Alias.active, "1.0.0")
    refs = (market, str(market.parent), "market@1.0.0", "market@active")
    assert {sg.load_policy(ref, config).policy_hash for ref in refs} == {sg.load_policy(market).policy_hash}
    assert [v.violation for v in sg.judge("market@active", ["a replica"], config)] == [True]
    monkeypatch.chdir(market.parents[3])
    monkeypatch.setenv("SAFEGUARD_POLICIES", market.parents[2].name)
    assert sg.load_policy("market@1.0.0").ref == "market@1.0.0"  # without a configuration, the environment's
    with pytest.raises(sg.PolicyError, match=r"has no alias shadow"):
        sg.load_policy("market@shadow", config)


def test_a_job_without_a_policy_or_tables_without_an_output_is_refused_before_spark_starts() -> None:
    with pytest.raises(sg.ConfigError, match="No policy"):
        sg.label_table(CONFIG)
    with pytest.raises(sg.ConfigError, match="no output"):
        sg.open_tables(CONFIG)
    assert "policy_activations" in sg.labels_current_sql()
