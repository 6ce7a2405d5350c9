"""The forms of an evaluation: text, JSON, rows, page; and what recorded answers and names mean."""

import json
from pathlib import Path

import pytest

from safeguard_spark import schema
from safeguard_spark.config.engine import ScriptedConfig
from safeguard_spark.errors import ConfigError, ExitCode
from safeguard_spark.evaluation.checks import Check, checked_policy
from safeguard_spark.evaluation.measures import Measure
from safeguard_spark.evaluation.names import NameCount, name_metrics
from safeguard_spark.evaluation.page import evaluation_page
from safeguard_spark.evaluation.replay import recorded_verdict
from safeguard_spark.evaluation.side import Side
from safeguard_spark.evaluation.text import evaluation_text
from safeguard_spark.labelling.contract import Contract
from safeguard_spark.labelling.verdict import Outcome
from safeguard_spark.policy.document import Output, load_policy
from safeguard_spark.policy.layout import policy_refs
from tests.build import RULES, policy, run_config
from tests.evaluations import two_sides
from tests.unit.commands import Safeguard
from tools.rooms import ROOT

pytestmark = pytest.mark.unit
HARMONY = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>1<|return|>"


def test_the_text_has_the_counts_the_differences_and_the_gate() -> None:
    text = evaluation_text(two_sides())
    assert (
        "market: 282 contents, 92 violations; tp 80 fp 10 fn 12 tn 180; 4 unreadable (counted as wrong); 6 unknown"
        in text
    )
    assert "market@1.0.0 by model/low minus market@1.0.0 by model/high, same contents:" in text
    assert "gate: golden@1 market: recall 0.8696, at least 0.5 is required: met, at least 0.797" in text
    assert text.count("gate:") == 2 and two_sides().exit_code is ExitCode.gate


def test_another_kind_of_engine_is_compared_without_the_keys_of_the_first() -> None:
    engine = {"kind": "endpoint", "url": "http://a", "model": "m", "window": 3}
    side = Side(run_config(engine=engine), (policy(),)).versus("engine.kind=scripted")
    assert side.config.engine == ScriptedConfig(window=3)
    with pytest.raises(ConfigError, match=r"--versus engine\.window=9 changes nothing about the labeler"):
        side.versus("engine.window=9")
    names = [side.versus(text).name.partition(" by ")[2] for text in ("labeler.effort=high", "labeler.max_tokens=9")]
    assert names == ["scripted/high", "scripted/medium, labeler.max_tokens=9"]  # no two sides have one name


def test_the_object_of_json_keeps_its_keys() -> None:
    value = json.loads(json.dumps(two_sides().to_json()))
    assert {"evaluation_id", "cohort", "metrics", "gate"} <= set(value)
    promised = {
        "set",
        "policy",
        "slice",
        "metric",
        "value",
        "low",
        "high",
        "n",
        "positives",
        "tp",
        "fp",
        "fn",
        "tn",
        "unreadable",
    }
    assert all(promised <= set(metric) for metric in value["metrics"])
    assert [len(side["differences"]) for side in value["sides"]] == [0, 4]


def test_each_row_of_the_table_has_exactly_its_columns() -> None:
    rows = list(two_sides().rows())
    assert len(rows) == sum(len(side.metrics) + len(side.names) for side in two_sides().sets[0].sides)
    assert all(set(row) == set(schema.EVALUATIONS.names) for row in rows)


def test_the_page_loads_nothing_and_escapes_what_it_shows() -> None:
    page = evaluation_page(two_sides())
    assert "default-src 'none'" in page
    assert not any(word in page for word in ("http:", "https:", "<script", "url(", "@import", "<de>", "<b>"))
    assert page.count("<svg") == 10 and "language=&lt;de&gt;" in page


@pytest.mark.parametrize(
    ("output", "raw", "outcome", "violation"),
    [
        (Output.binary, "1", Outcome.labelled, True),
        (Output.binary, "0", Outcome.labelled, False),
        (Output.binary, "It is fine", Outcome.unparseable, None),
        (Output.binary, None, Outcome.unparseable, None),
        (Output.binary, HARMONY,
         Outcome.labelled, True),
        (Output.full, '{"violation": 1, "category": "weapons", "rule_ids": ["M2"]}', Outcome.labelled, True),
    ],
)  # fmt: skip
def test_recorded_answers_are_read_as_those_of_a_model(
    output: Output, raw: str | None, outcome: Outcome, violation: bool | None
) -> None:
    verdict = recorded_verdict(Contract(output, dict(RULES)), raw, "Thoughts.")
    assert (verdict.outcome, verdict.violation) == (outcome, violation)


def test_a_name_that_people_never_gave_has_a_precision_and_no_recall() -> None:
    counts = [
        NameCount("p", "category:a", True, False, True, 8),
        NameCount("p", "category:a", False, False, True, 2),
        NameCount("p", "rule:R1", True, True, True, 3),
        NameCount("p", "rule:R1", True, True, None, 1),
        NameCount("p", "rule:R1", True, False, True, 4),
    ]
    metrics = {(metric.slice, metric.metric): metric for metric in name_metrics("s@1", counts)}
    assert metrics["category:a", Measure.precision].value == 0.8
    assert ("category:a", Measure.recall) not in metrics
    assert metrics["rule:R1", Measure.recall].value == 0.75  # an unreadable answer names nothing
    assert metrics["rule:R1", Measure.precision].value == pytest.approx(3 / 7)
    assert all(metric.tn is None for metric in metrics.values())


def test_sets_are_listed_with_what_to_download(safeguard: Safeguard) -> None:
    listed = safeguard("sets", "--sets", str(ROOT / "sets"), "--json")
    states = {one["ref"]: one["data"] for one in json.loads(listed.out)}
    assert states["hate-cases@1.1.0"] == "here" and states["toxicchat@0124"] == "missing"
    one = safeguard("sets", "toxicchat", "--sets", str(ROOT / "sets"))
    assert "CC-BY-NC-4.0, may not be passed on" in one.out and "lmsys/toxic-chat" in one.out
    assert safeguard("sets", "toxichat", "--sets", str(ROOT / "sets")).err.count("Did you mean toxicchat?") == 1


def test_a_manifest_that_cannot_be_read_hides_no_other_set(safeguard: Safeguard) -> None:
    good = (ROOT / "sets" / "toxicchat" / "0124" / "set.yaml").read_text()
    for name, text in (("toxicchat", good), ("aaa", good), ("zzz", "name: [")):
        Path("mine", name, "0124").mkdir(parents=True)
        Path("mine", name, "0124", "set.yaml").write_text(text)
    listed = safeguard("sets", "--sets", "mine", "--json")
    assert (listed.code, [one["ref"] for one in json.loads(listed.out)]) == (2, ["toxicchat@0124"])
    assert "mine/zzz/0124/set.yaml:1" in listed.err and "aaa/0124/set.yaml is toxicchat@0124" in listed.err
    assert safeguard("sets", "toxicchat", "--sets", "mine").code == 0
    assert safeguard("sets", "zzz", "--sets", "mine").code == 2


def test_a_folder_of_sets_that_does_not_exist_is_named(safeguard: Safeguard) -> None:
    for argv in (["sets"], ["sets", "--sets", "nowhere"], ["sets", "--json"]):
        ran = safeguard(*argv)
        assert (ran.code, "There is no folder" in ran.err and "--sets" in ran.err) == (2, True)
    Path("sets").mkdir()
    assert safeguard("sets") == (0, "No golden sets.\n", "")


def test_the_rules_change_places_and_nothing_else_does() -> None:
    body = "# P\n\n## Rules\n\n### M1 Fakes\nNo fakes.\n\n### Note\nn\n\n### M2 Arms\nNo arms.\n\n## Output\nJSON M1\n"
    own = policy(text=body)
    other = checked_policy(own, Check.rule_order)
    assert other.body.index("### M2") < other.body.index("### Note") < other.body.index("### M1")
    assert sorted(other.body.splitlines()) == sorted(own.body.splitlines()) and other.rule_ids == ("M2", "M1")
    assert other.body.rstrip().endswith("JSON M1") and other.name == "market.rule-order"
    with pytest.raises(ConfigError, match="no two rules with headings"):
        checked_policy(policy(text="No replicas, no rifles."), Check.rule_order)


@pytest.mark.parametrize("ref", policy_refs(ROOT / "policies"))
def test_every_shipped_policy_has_a_text_for_every_check(ref: str) -> None:
    own = load_policy(ROOT / "policies" / ref.replace("@", "/") / "policy.md")
    texts = {checked_policy(own, check).body for check in Check if check is not Check.label_blindness}
    assert len(texts | {own.body}) == 4
    assert all('"violation"' in text or own.output is Output.binary for text in texts)
