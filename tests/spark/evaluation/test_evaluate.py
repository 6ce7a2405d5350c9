"""Evaluation end to end: a golden set is labelled, or its answers are recorded, and every figure is that of a plain
count."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

import safeguard_spark as sg
from safeguard_spark.errors import ConfigError, GateError, SourceError
from safeguard_spark.evaluation.measures import Measure
from safeguard_spark.evaluation.result import Evaluation
from safeguard_spark.evaluation.text import evaluation_text
from safeguard_spark.spark.maintain.files import optimize_tables
from safeguard_spark.spark.relabel.promote import promote_version
from safeguard_spark.spark.screens import add_screen
from safeguard_spark.spark.tables import Tables
from tests.build import policy, policy_text
from tests.spark.lake import Lake
from tests.unit.commands import Safeguard
from tests.unit.screen.test_record import screen

pytestmark = pytest.mark.spark

TEXTS = ("a replica {n}", "a rifle {n}", "a table {n}", "zzgarbage {n}", "zzrefuse {n}", "a quiet replica {n}")
ROWS = 60


def contents(count: int = ROWS) -> list[dict[str, Any]]:
    """Texts of every kind, with answers that are right, wrong and unknown, in two languages."""
    rows = []
    for n in range(count):
        kind = n % len(TEXTS)
        flagged = kind in (0, 1, 5)
        gold = None if n % 10 == 9 else int(flagged != (n % 7 == 0))
        rule = {0: "M1", 1: "M2", 5: "M1"}.get(kind) if gold else None
        text, language = TEXTS[kind].format(n=n), "en" if n % 3 else "de"
        rows.append(
            {
                "text": text,
                "market": gold,
                "arms": None if gold is None else int(kind == 1),
                "rule": rule,
                "language": language,
            }
        )
    return rows


def write_set(folder: Path, rows: Sequence[dict[str, Any]], **changes: Any) -> Path:
    """A set in a JSON lines file; an unknown answer is an absent key."""
    manifest = {
        "name": "golden", "version": "1", "licence": "MIT", "may_redistribute": True, "location": "./rows.jsonl",
        "id_column": "_row", "text_column": "text", "mapping": {"market": "market", "arms": "arms"},
        "rules": {"market": "rule"}, "slices": ["language"], **changes,
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({key: value for key, value in row.items() if value is not None}) for row in rows]
    (folder / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (folder / "set.yaml").write_text(yaml.safe_dump(manifest), encoding="utf-8")
    return folder / "set.yaml"


ARMS = policy("arms", rules={"M2": "weapons"}, text="No rifles.")


def flagged(text: str, words: Sequence[str]) -> bool | None:
    """What the scripted engine answers; None cannot be read."""
    return None if "zz" in text else any(word in text for word in words)


def plain_count(rows: Sequence[dict[str, Any]], policy: str, words: Sequence[str]) -> dict[str, int]:
    """Confusion counts by hand: an unreadable answer is wrong."""
    cells = {"tp": 0, "fp": 0, "fn": 0, "tn": 0, "unreadable": 0, "unknown": 0}
    for row in rows:
        gold, verdict = row[policy], flagged(row["text"], words)
        if gold is None:
            cells["unknown"] += 1
            continue
        answer = (not gold) if verdict is None else verdict
        cells[("tp" if answer else "fn") if gold else ("fp" if answer else "tn")] += 1
        cells["unreadable"] += verdict is None
    return cells


def evaluate(lake: Lake, golden_set: Path, *policies: Any, **options: Any) -> Evaluation:
    sections = options.pop("sections", {})
    lake.create()
    return sg.evaluate(
        lake.config(**sections),
        *(policies or (policy(),)),
        sets=golden_set,
        spark=lake.spark,
        progress=False,
        **options,
    )


def cells_of(evaluation: Evaluation, policy: str, slice_: str = "*") -> dict[str, int | None]:
    metric = evaluation.sets[0].first.metric(policy, Measure.recall, slice_)
    assert metric is not None
    return {name: getattr(metric, name) for name in ("tp", "fp", "fn", "tn", "unreadable", "unknown")}


def test_a_set_is_labelled_once_and_counted_as_by_hand(lake: Lake, tmp_path: Path) -> None:
    rows = contents(500)
    golden_set = write_set(tmp_path, rows)
    first = evaluate(lake, golden_set, policy(), ARMS)
    assert first.calls == lake.calls() >= 2 * len(rows)  # and second looks
    words = {"market": ("replica", "rifle"), "arms": ("rifle",)}
    for name in words:
        assert cells_of(first, name) == plain_count(rows, name, words[name])
        german = [row for row in rows if row["language"] == "de"]
        assert cells_of(first, name, "language=de") == plain_count(german, name, words[name])
    exact = first.sets[0].first.metric("*", Measure.exact_match)
    known = [row for row in rows if row["market"] is not None]
    right = sum(all(flagged(row["text"], words[name]) == bool(row[name]) for name in words) for row in known)
    assert exact is not None and (exact.n, exact.value) == (len(known), pytest.approx(right / len(known)))
    accuracies = [first.sets[0].first.metric(name, Measure.accuracy) for name in words]
    assert right / len(known) <= min(metric.value for metric in accuracies if metric and metric.value is not None)
    again = evaluate(lake, golden_set, policy(), ARMS)
    assert (again.calls, lake.calls()) == (0, 0)
    assert [m.to_json() for m in again.sets[0].first.metrics] == [m.to_json() for m in first.sets[0].first.metrics]
    table = lake.read("evaluations").collect()
    assert {row["evaluation_id"] for row in table} == {first.evaluation_id, again.evaluation_id}
    assert len({row["cohort_hash"] for row in table}) == 1
    assert {row["collection"] for row in lake.read("labels").collect()} == {"golden"}
    assert lake.read("policy_activations").count() == 0  # what is measured is not thereby active
    names = {m.slice: m for m in first.sets[0].first.names if m.metric is Measure.precision and m.policy == "market"}
    assert set(names) == {"rule:M1", "rule:M2", "category:counterfeit", "category:weapons"}


@pytest.mark.slow
def test_two_sides_are_compared_on_the_same_contents_and_one_with_itself(lake: Lake, tmp_path: Path) -> None:
    golden_set = write_set(tmp_path, contents())
    noisy = {"engine": {"args": {"words": {"replica": "M1"}, "noise": 0.3}}}
    found = evaluate(lake, golden_set, sections=noisy, versus=["labeler.effort=high"], repeat=3)
    first, second = found.sets[0].sides
    assert second.name == "market@1.0.0 by scripted/high" and found.calls >= 4 * ROWS
    accuracy = next(d for d in second.differences if d.metric is Measure.accuracy and d.slice == "*")
    values = [side.metric("market", Measure.accuracy) for side in (first, second)]
    assert values[0] and values[1] and values[0].value is not None and values[1].value is not None
    assert accuracy.value == pytest.approx(values[0].value - values[1].value)
    noise = first.metric("market", Measure.disagreement)
    assert noise is not None and noise.value is not None and 0.1 < noise.value < 0.9
    assert lake.spark.sql("SELECT * FROM labels_current").count() == 0
    calls = lake.calls()
    with pytest.raises(ConfigError, match="no such evaluation of golden@1"):  # before any call
        evaluate(lake, write_set(tmp_path, contents(2 * ROWS)), versus=["e20260101T000000-00000000"])
    assert lake.calls() == calls
    other = write_set(tmp_path, contents(), filter="language = 'en'")
    with pytest.raises(ConfigError, match=r"cannot stand in one figure.*the filter: language = 'en' and none"):
        evaluate(lake, other, sections=noisy, versus=[found.evaluation_id])
    together = evaluate(lake, write_set(tmp_path, contents()), sections=noisy, versus=[found.evaluation_id])
    assert [side.name for side in together.sets[0].sides[1:]] == [
        f"{name} ({found.evaluation_id})" for name in (first.name, second.name)
    ]


def test_recorded_answers_stand_in_for_a_model_and_a_missing_one_is_wrong(
    lake: Lake, tmp_path: Path, safeguard: Safeguard
) -> None:
    rows = contents()
    golden_set = write_set(tmp_path, rows)
    (tmp_path / "policy.md").write_text(policy_text(output="binary"), encoding="utf-8")
    words = ("replica", "rifle")
    verdicts = [flagged(row["text"], words) for row in rows]
    answers = ["no idea" if verdict is None else str(int(verdict)) for verdict in verdicts]
    recording = pa.table({"id": [str(n) for n in range(1, ROWS + 1)], "raw_output": answers, "reasoning": answers})
    pq.write_table(recording.slice(0, ROWS - 1), tmp_path / "answers.parquet")
    (tmp_path / "c.yaml").write_text("engine: {kind: scripted}\ntracking: {enabled: false}\n", encoding="utf-8")
    line = (
        "evaluate", "--config", "c.yaml", "--policy", "policy.md", "--set", str(golden_set),
        "--replay", str(tmp_path / "answers.parquet"), "--html", "page.html", "--json",
    )  # fmt: skip
    result = safeguard(*line)
    assert result.code == 0, result.err
    printed = json.loads(result.out)
    whole = next(m for m in printed["metrics"] if (m["slice"], m["metric"]) == ("*", "recall"))
    rows[-1]["text"] = "zz"  # what has no answer cannot be read
    assert {name: whole[name] for name in plain_count(rows, "market", words)} == plain_count(rows, "market", words)
    assert printed["calls"] == 0 and (tmp_path / "page.html").read_text().count("<svg") >= 3
    assert safeguard(*line, "--repeat", "2").code == 2
    pq.write_table(pa.concat_tables([recording, recording]), tmp_path / "answers.parquet")
    doubled = safeguard(*line)
    assert doubled.code == 4 and "have several answers" in doubled.err


@pytest.mark.slow
def test_five_of_five_right_do_not_show_a_floor(lake: Lake, tmp_path: Path) -> None:
    rows = [{"text": f"a replica {n}", "market": 1, "arms": 0} for n in range(5)]
    gate = {"gate": {"sets": [{"set": "golden", "min_recall": 0.95}]}}
    result = evaluate(lake, write_set(tmp_path, rows, slices=[], rules={}), policy(**gate))
    (line,) = result.gate
    assert "cannot be shown: 5 positives, 59 are needed (54 more, all of them flagged)" in str(line)
    assert (result.exit_code, line.value) == (7, 1.0)
    rows = [{"text": f"a replica {n}", "market": 1, "arms": 0} for n in range(59)]
    assert evaluate(lake, write_set(tmp_path, rows, slices=[], rules={}), policy(**gate)).exit_code == 0


def test_no_line_of_the_gate_vanishes(lake: Lake, tmp_path: Path) -> None:
    golden_set = write_set(tmp_path / "golden", contents(12))
    other = tmp_path / "sets" / "chats" / "3"
    write_set(other, contents(2), name="chats", version="3")

    def lines(*gates: dict[str, Any]) -> Evaluation:
        sections = {"sets": str(tmp_path / "sets"), "relabel": {"gate": {"sets": list(gates)}}}
        return evaluate(lake, golden_set, sections=sections)

    for gate, message in (
        ({"set": "chat"}, r"\(chat, min_recall\)\. There is no set chat in .*Did you mean chats\?"),
        (
            {"set": "golden", "policy": "arm"},
            r"\(golden arm, min_recall\).* no answers for policy arm\. Did you mean arms",
        ),
        ({"set": "chats@3", "policy": "hate"}, "chats@3 has no answers for policy hate"),
        ({"set": "golden", "slice": "langage=en"}, "golden@1 is not divided by langage: .* Did you mean language"),
        ({"set": "golden", "slice": "en"}, "Its slice en is not COLUMN=VALUE"),
    ):
        with pytest.raises(ConfigError, match=r"A line of the gate can never be decided .*" + message):
            lines({"min_recall": 0.1, **gate})
    assert lake.calls() == 0
    done = lines(
        {"set": "chats", "max_unreadable_rate": 0.5}, {"set": "golden", "policy": "arms", "min_recall": 0.5},
        {"set": "golden", "slice": "language=fr", "min_recall": 0.1},
    )  # fmt: skip
    (line,) = done.gate
    assert line.reason == "cannot be shown: no content of golden@1 has language=fr; its values of language are de, en"
    text = evaluation_text(done)
    assert "gate, not decided here: chats, max_unreadable_rate: set chats is not evaluated\n" in text
    assert "gate, not decided here: golden arms, min_recall: policy arms is not evaluated\n" in text
    assert len(done.to_json()["gate_not_decided"]) == 2


@pytest.mark.slow
def test_a_promotion_asks_the_sets_of_the_gate(lake: Lake, tmp_path: Path) -> None:
    lake.write([(f"p{n}", f"a replica {n}") for n in range(4)])
    folder = tmp_path / "sets" / "golden" / "1"
    folder.mkdir(parents=True)
    rows = [{"text": f"a replica {n}", "market": 1} for n in range(59)]
    write_set(folder, rows[:5], slices=[], rules={}, mapping={"market": "market"})
    new = policy(version="1.1.0", text="No replicas.", gate={"sets": [{"set": "golden", "min_recall": 0.95}]})
    sections = {"sets": str(tmp_path / "sets"), "relabel": {"gate": {"cases": False, "min_coverage": None}}}
    for version in (policy(), new):
        lake.label(version)
    mistyped = {"gate": {"cases": False, "sets": [{"set": "golden", "policy": "markets", "min_recall": 0.5}]}}
    with pytest.raises(ConfigError, match=r"\(golden markets, min_recall\)\. .* Did you mean market\?"):
        promote_version(lake.spark, lake.config(**{**sections, "relabel": mistyped}), new)
    with pytest.raises(GateError, match=r"1 observed; cannot be shown: 5 positives, 59 are needed"):
        promote_version(lake.spark, lake.config(**sections), new)
    write_set(folder, rows, slices=[], rules={}, mapping={"market": "market"})
    promotion = promote_version(lake.spark, lake.config(**sections), new)
    assert promotion.changed and promotion.calls == 54  # five have a label
    (line,) = promotion.lines
    assert line.met and line.measure == "golden@1 market recall" and line.value == pytest.approx(0.95, abs=0.001)


@pytest.mark.slow
def test_answers_that_name_a_changed_rule_are_unknown_under_the_new_version(lake: Lake, tmp_path: Path) -> None:
    text = "## Criteria\n\n### M1 Fakes\n{}\n\n### M2 Arms\nNo rifles.\n"
    for version, rule in (("1.0.0", "No replicas."), ("1.1.0", "No replicas of watches.")):
        folder = tmp_path / "policies" / "market" / version
        folder.mkdir(parents=True)
        (folder / "policy.md").write_text(policy_text(version=version, text=text.format(rule)), encoding="utf-8")
    rows = contents()
    golden_set = write_set(tmp_path, rows, decided_under={"market": "1.0.0"})
    sections = {"policies": str(tmp_path / "policies")}
    old, new = (evaluate(lake, golden_set, f"market@{version}", sections=sections) for version in ("1.0.0", "1.1.0"))
    naming = sum(row["rule"] == "M1" for row in rows)
    assert (old.sets[0].decide_again, new.sets[0].decide_again) == ({}, {"market": naming})
    assert cells_of(new, "market")["unknown"] == cells_of(old, "market")["unknown"] + naming  # type: ignore[operator]
    with pytest.raises(ConfigError, match="answers to decide again: market M1 and none"):
        evaluate(lake, golden_set, "market@1.1.0", sections=sections, versus=[old.evaluation_id])


def test_a_set_that_cannot_be_read_or_divided_says_what_to_do(lake: Lake, tmp_path: Path) -> None:
    golden_set = write_set(tmp_path, contents(6), download="The file rows.jsonl of the repository ada/rows.")
    (tmp_path / "rows.jsonl").unlink()
    with pytest.raises(
        SourceError, match=r"rows\.jsonl\. To get it: The file rows\.jsonl of the repository ada/rows\."
    ):
        evaluate(lake, golden_set)
    for column, message in (
        ("tekst", r"no column tekst in golden@1 \(text_column\); did you mean text\?"),
        ("market", r"Column market of golden@1 is bigint, not text\. Write text_column"),
    ):
        with pytest.raises(SourceError, match=message):
            evaluate(lake, write_set(tmp_path, contents(6), text_column=column))
    for mapping, message in (
        ("language", r"Answers for market in golden@1 .* 1 nor 0: 6\. .*mapping\.market: \"language = 'VALUE'\""),
        ("_row", r"Answers for market in golden@1 .* 1 nor 0: 5\. .*mapping\.market: \"_row >= NUMBER\""),
        ("array(text)", r"mapping\.market array\(text\) of golden@1 is array<string>, not true or false"),
    ):
        with pytest.raises(SourceError, match=message):
            evaluate(lake, write_set(tmp_path, contents(6), mapping={"market": mapping}))
    golden_set = write_set(tmp_path, [*contents(6), contents(6)[0]], id_column="text")
    with pytest.raises(SourceError, match="In golden@1, 1 row repeats the id of another"):
        evaluate(lake, golden_set)
    with pytest.raises(ConfigError, match="text of golden@1 has more than 500 values"):
        evaluate(lake, write_set(tmp_path, contents(501)), slices=["language", "text"])


@pytest.mark.slow
def test_checks_show_what_a_keyword_script_does_not_understand(lake: Lake, tmp_path: Path) -> None:
    text = "## Rules\n\n### M1 Fakes\nNo replicas.\n\n### M2 Arms\nNo rifles.\n"
    leaks = write_set(tmp_path, contents(), text_column="concat(text, ' ', coalesce(cast(market AS STRING), ''))")
    checks = ["steerability", "off-topic", "rule-order", "label-blindness"]
    result = evaluate(lake, leaks, policy(text=text), checks=checks)
    by_name = {check.check: check for check in result.sets[0].checks}
    assert [by_name[name].value for name in ("steerability", "rule-order")] == [0.0, 0.0]
    assert by_name["off-topic"].value == pytest.approx(30 / 40)  # a script follows no policy; 20 cannot be read
    assert by_name["label-blindness"].value == pytest.approx(54 / 60)  # the text names the answer where it is known
    blind = evaluate(lake, write_set(tmp_path, contents()), policy(text=text), ARMS, checks=["label-blindness"])
    assert [(one.policy, one.value, one.n) for one in blind.sets[0].checks] == [
        ("market", 0.0, ROWS),
        ("arms", 0.0, ROWS),
    ]


@pytest.mark.slow
def test_tables_of_an_earlier_release_are_read_and_kept_without_the_new_one(lake: Lake, tmp_path: Path) -> None:
    lake.create()
    shutil.rmtree(lake.tables / "evaluations")
    reader = sg.open_tables(str(lake.tables), spark=lake.spark)
    reader.create_views()
    assert "evaluations" not in optimize_tables(lake.spark, lake.config())
    assert evaluate(lake, write_set(tmp_path, contents(12))).calls > 0
    assert lake.read("evaluations").count() > 0


@pytest.mark.slow
def test_what_a_screen_cleared_in_a_table_of_the_sets_name_is_judged(lake: Lake, tmp_path: Path) -> None:
    """As if a screen had cleared, under the set's name, ids and contents, every other one of them."""
    golden_set = write_set(tmp_path, contents())
    first = evaluate(lake, golden_set)
    lake.calls()
    cleared = screen(policy_version="1.0.0", policy_hash=policy().policy_hash)
    add_screen(Tables(lake.spark, str(lake.tables)), cleared)
    lake.spark.sql(f"""
        UPDATE delta.`{lake.tables}/labels` SET outcome = 'screened', violation = false, rule_ids = array(),
          category = null, screened_for = labeler_hash, labeler_hash = '{cleared.screen_hash}'
        WHERE int(content_id) % 2 = 0""")
    again = evaluate(lake, golden_set)
    assert again.calls == lake.calls() >= ROWS / 2
    assert cells_of(again, "market") == cells_of(first, "market")
    assert evaluate(lake, golden_set).calls == 0
