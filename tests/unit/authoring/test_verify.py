"""`safeguard verify` runs a policy's cases through an engine and reports rule by rule; its exit code is the result."""

import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from safeguard_spark.authoring.cases import Case, Violation
from safeguard_spark.authoring.verify import Finding, judge
from safeguard_spark.errors import TrackingError
from safeguard_spark.labelling.verdict import Outcome, Verdict
from safeguard_spark.policy.document import parse_policy
from safeguard_spark.tracking.store import mlflow_client
from tests.unit.commands import Safeguard
from tests.unit.samples import CASES, POLICY, edited, write_policy

pytestmark = pytest.mark.unit
SCRIPTED = ("--set", "engine.kind=scripted")
ALL_RIGHT = ("--set", "engine.args.words={replica: M1, truck: M2}")
BOTH = edited(CASES, ("    category: counterfeit\n    rules: [M1]", "    rules: [M1, M2]"))


def test_cases_with_the_expected_verdicts_exit_0(safeguard: Safeguard) -> None:
    write_policy(Path("policies"))
    ran = safeguard("verify", "market", *SCRIPTED, *ALL_RIGHT)
    assert (ran.code, ran.err) == (0, "")
    assert "market@1.0.0 passed: 3 of 3 cases as expected" in ran.out


def test_every_way_a_case_can_fail_is_counted_under_its_rule_and_shown(
    safeguard: Safeguard, golden: Callable[[str, str], None]
) -> None:
    more = "\n  - id: {}\n    text: {}\n    violation: {}\n    rules: [{}]\n    why: A reason.\n"
    cases = CASES + "".join(
        more.format(*fields)
        for fields in [
            ("a-missed-one", "looks like the brand", "true", "M1"),
            ("a-wrong-rule", "a replica that fell off", "true", "M2"),
            ("refused", "a replica zzrefuse", "true", "M1"),
            ("cut", "my own bike zzcut", "false", ""),
        ]
    )
    write_policy(Path("policies"), cases=cases)
    script = '{words: {replica: M1, truck: M2, "old watch": M2}, misbehave: {zzrefuse: refuse, zzcut: truncate}}'
    ran = safeguard("verify", "market", *SCRIPTED, "--set", f"engine.args={script}")
    assert ran.code == 7
    golden("verify/failures.txt", ran.out)


def test_the_json_report_has_the_same_numbers_and_no_content(safeguard: Safeguard) -> None:
    write_policy(Path("policies"))
    ran = safeguard("verify", "market", *SCRIPTED, "--json")
    (report,) = json.loads(ran.out)
    assert (ran.code, report["cases"], report["passed"], report["succeeded"]) == (7, 3, 1, False)
    assert report["measures"] == {
        "precision": None,
        "recall": 0.0,
        "false_positive_rate": 0.0,
        "unreadable_rate": 0.0,
        "rule_accuracy": 0.0,
    }
    assert [(row["rule"], row["cases"], row["missed"]) for row in report["rules"]] == [
        ("M1", 1, 1),
        ("M2", 1, 1),
        ("safe", 1, 0),
    ]
    assert [row["case"] for row in report["failed"]] == ["replica-watch", "found-on-a-truck"]
    assert "nobody can tell" not in ran.out


def test_several_policies_are_verified_in_one_run_and_the_worst_result_counts(safeguard: Safeguard) -> None:
    write_policy(Path("policies"))
    write_policy(Path("policies"), edited(POLICY, ("1.0.0", "1.1.0")), BOTH, version="1.1.0")
    ran = safeguard("verify", "market@1.0.0", "market@1.1.0", *SCRIPTED, *ALL_RIGHT)
    assert ran.code == 7
    assert "market@1.0.0 passed: 3 of 3" in ran.out
    assert "market@1.1.0 failed: 2 of 3" in ran.out


@pytest.mark.parametrize("cases", [None, "cases: []\n", ""])
def test_a_policy_without_cases_does_not_count_as_verified(safeguard: Safeguard, cases: str | None) -> None:
    write_policy(Path("policies"), cases=cases)
    ran = safeguard("verify", "market", *SCRIPTED)
    assert ran.code == 3
    assert "so there is nothing to verify" in ran.err


def test_the_model_is_not_called_for_a_policy_with_errors(safeguard: Safeguard) -> None:
    write_policy(Path("policies"), cases=edited(CASES, ("rules: [M2]", "rules: [M9]")))
    ran = safeguard("verify", "market", *SCRIPTED, "--set", "engine.args.calls_file=calls")
    assert ran.code == 3
    assert "unknown-case-rule" in ran.err
    assert not Path("calls").exists()


def test_a_conversation_is_judged_as_one_content_and_an_empty_text_fails(safeguard: Safeguard) -> None:
    conversation = "    conversation:\n      - {role: user, text: A replica?}\n      - {role: assistant, text: No.}"
    write_policy(Path("policies"), cases=edited(CASES, ("    text: Replica watch, nobody can tell", conversation)))
    assert safeguard("verify", "market", *SCRIPTED, *ALL_RIGHT).code == 0
    write_policy(Path("policies"), cases=edited(CASES, ("My old watch, with its box", '""')))
    ran = safeguard("verify", "market", *SCRIPTED, *ALL_RIGHT)
    assert ran.code == 7
    assert "actual    empty" in ran.out


@pytest.mark.parametrize("output", ["binary", "category", "full"])
@pytest.mark.parametrize("dialect", ["harmony", "chat"])
def test_every_output_form_and_dialect_can_be_verified(safeguard: Safeguard, output: str, dialect: str) -> None:
    statements = {
        "binary": "Answer 0 or 1.",
        "category": 'Answer {"violation": 0, "policy_category": "none"}.',
        "full": "",
    }
    text = edited(
        POLICY, ("output: full", f"output: {output}"), ("## Definitions", f"{statements[output]}\n\n## Definitions")
    )
    write_policy(Path("policies"), text)
    settings = (*SCRIPTED, *ALL_RIGHT, "--set", f"engine.dialect={dialect}")
    assert safeguard("verify", "market", *settings).code == 0


def test_a_case_left_to_a_person_has_a_line_of_its_own_and_is_neither_safe_nor_a_violation(
    safeguard: Safeguard,
) -> None:
    policy = edited(POLICY, ("labeler:", "review: [Escalate, M0]\nlabeler:"))
    asked = (
        "\n  - id: press\n    text: A newspaper shows a seized replica\n    violation: review\n    why: It is news.\n"
    )
    write_policy(Path("policies"), policy, CASES + asked)
    assert safeguard("check", "--strict").code == 0
    words = "engine.args.words={newspaper: Escalate, replica: M1, truck: M2, old watch: M0}"
    ran = safeguard("verify", "market", *SCRIPTED, "--set", words, "--json")
    (report,) = json.loads(ran.out)
    assert {row["rule"]: (row["passed"], row["review"]) for row in report["rules"]} == {
        "M1": (1, 0), "M2": (1, 0), "review": (1, 0), "safe": (0, 1),
    }  # fmt: skip
    assert (report["measures"]["precision"], report["measures"]["recall"]) == (1.0, 1.0)
    assert "actual    review by a person" in safeguard("verify", "market", *SCRIPTED, "--set", words).out
    write_policy(Path("policies"), POLICY, CASES + asked)
    assert "case press expects review, which is no answer of this policy" in safeguard("check").out


MARKET = parse_policy(POLICY)
SAFE = Verdict(Outcome.labelled, violation=False)
REVIEW = Verdict(Outcome.review, category="review")


def violation_of(*rules: str, category: str = "counterfeit") -> Verdict:
    return Verdict(Outcome.labelled, violation=True, category=category, rule_ids=rules)


def case(*rules: str, violation: Violation = True, category: str | None = None) -> Case:
    return Case(id="a", text="x", violation=violation, rules=rules, category=category)


@pytest.mark.parametrize(
    ("expected", "verdict", "finding"),
    [
        (case("M1"), violation_of("M1"), Finding.passed),
        (case("M1"), violation_of("M1", "M2"), Finding.passed),
        (case("M1", "M2"), violation_of("M1"), Finding.wrong_rule),
        (case("M1"), violation_of("M1", category="stolen"), Finding.wrong_rule),
        (case(), violation_of("M2", category="stolen"), Finding.passed),
        (case(category="stolen"), violation_of("M1"), Finding.wrong_rule),
        (case("M1"), SAFE, Finding.missed),
        (case(violation=False), SAFE, Finding.passed),
        (case(violation=False), violation_of("M1"), Finding.false_alarm),
        (case("M1"), Verdict(Outcome.refused), Finding.unread),
        (case(violation=False), Verdict(Outcome.unparseable), Finding.unread),
        (case(violation="review"), REVIEW, Finding.passed),
        (case(violation="review"), SAFE, Finding.missed),
        (case(violation="review"), violation_of("M1"), Finding.wrong_rule),
        (case(violation="review"), Verdict(Outcome.refused), Finding.unread),
        (case("M1"), REVIEW, Finding.review),
        (case(violation=False), REVIEW, Finding.review),
    ],
)
def test_a_verdict_is_judged_against_its_case(expected: Case, verdict: Verdict, finding: Finding) -> None:
    assert judge(MARKET, expected, verdict) is finding


PHONES = edited(POLICY, ("1.0.0", "1.1.0"))


def test_what_the_model_said_is_shown_for_failed_cases_only_on_request(safeguard: Safeguard) -> None:
    write_policy(Path("policies"))
    script = ("--set", "engine.args={words: {replica: M1}, misbehave: {old watch: garbage}}")
    plain = safeguard("verify", "market", *SCRIPTED, *script)
    shown = safeguard("verify", "market", *SCRIPTED, *script, "--show-answers")
    assert "The script says so." not in plain.out and shown.out.startswith(plain.out)
    said = shown.out.removeprefix(plain.out)
    assert "found-on-a-truck (missed)" in said and '"rationale": "No rule matches."' in said
    assert "old-watch (unread)" in said and "}{ nothing of use" in said and "replica-watch" not in said


def test_an_outage_of_mlflow_after_the_calls_costs_no_figures(
    safeguard: Safeguard, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: object) -> None:
        raise TrackingError("MLflow is down.")

    write_policy(Path("policies"))
    usual = safeguard("verify", "market", *SCRIPTED, *ALL_RIGHT)
    monkeypatch.setattr("safeguard_spark.tracking.runs.log_finished_run", down)
    monkeypatch.setattr("safeguard_spark.tracking.store.try_server", lambda uri: None)
    ran = safeguard("verify", "market", *SCRIPTED, *ALL_RIGHT, "--mlflow", "--html", "page.html")
    assert (usual.code, ran.code, ran.out) == (0, 5, usual.out)
    assert "Error: MLflow is down." in ran.err and Path("page.html").is_file()


def test_what_is_named_twice_is_paid_for_once(safeguard: Safeguard) -> None:
    write_policy(Path("policies"))
    calls = ("--set", "engine.args.calls_file=calls")
    safeguard("verify", "market", "market@1.0.0", *SCRIPTED, *calls)
    assert Path("calls").stat().st_size == 3
    safeguard("verify", "market", *SCRIPTED, *calls, "--case", "old-watch", "--case", "old-watch")
    assert Path("calls").stat().st_size == 4


def test_one_case_is_verified_alone_and_an_unknown_one_is_named(safeguard: Safeguard) -> None:
    write_policy(Path("policies"))
    calls = ("--set", "engine.args={words: {replica: M1}, calls_file: calls}")
    ran = safeguard("verify", "market", *SCRIPTED, *calls, "--case", "replica-watch")
    assert (ran.code, Path("calls").stat().st_size) == (0, 1) and "1 of 1 case as" in ran.out
    missing = safeguard("verify", "market", *SCRIPTED, *calls, "--case", "replica-wach")
    assert (missing.code, "replica-watch" in missing.err) == (3, True)


def test_versions_and_settings_stand_side_by_side_on_the_same_cases(safeguard: Safeguard) -> None:
    write_policy(Path("policies"))
    write_policy(Path("policies"), PHONES, BOTH, version="1.1.0")
    sides = ("--versus", "market@1.1.0", "--versus", "labeler.effort=high", "--versus", "engine.args.words={box: M1}")
    ran = safeguard("verify", "market@1.0.0", *SCRIPTED, *ALL_RIGHT, *sides, "--html", "page.html")
    lines = [line.split("  ") for line in ran.out.splitlines()]
    assert ran.code == 0, "the exit code is that of the first"
    assert [cell.strip() for cell in lines[0] if cell] == [
        "case", "expected", "market@1.0.0 by scripted/low", "market@1.1.0 by scripted/low", "labeler.effort=high",
        "engine.args.words={box: M1}",
    ]  # fmt: skip
    old_watch = next(line for line in ran.out.splitlines() if line.startswith("old-watch"))
    assert old_watch.split("  ")[-1].strip() == "violation of M1 *"
    assert "3 of 3 cases differ; * is not what the case expects." in ran.out
    page = Path("page.html").read_text()
    assert '<td class="failed">violation of M1 *</td>' in page and "nobody can tell" not in page
    assert safeguard("verify", "market@1.0.0", "market@1.1.0", *SCRIPTED, "--versus", "labeler.effort=high").code == 2


def test_a_page_that_cannot_be_written_is_refused_before_a_model_is_called(safeguard: Safeguard) -> None:
    write_policy(Path("policies"))
    Path("conf.yaml").write_text("engine: {kind: scripted}\n")
    calls = ("--set", "engine.args.calls_file=calls")
    problems = {
        "pages/a.html": ": the folder pages does not exist",
        "policies": ": is a folder",
        "a" * 300: " cannot be written: File name too long",
        "/proc/page.html": " cannot be written: No such file or directory",
    }
    for page, problem in problems.items():
        ran = safeguard("verify", "market", *SCRIPTED, *calls, "--html", page)
        assert (ran.code, f"--html {page}{problem}." in ran.err, Path("calls").exists()) == (2, True, False)
        for other in (("evaluate", "--set", "golden"), ("relabel", "compare", "market@1.0.0", "market@1.1.0")):
            ran = safeguard(*other, "--config", "conf.yaml", "--html", page)
            assert (ran.code, f"--html {page}{problem}." in ran.err) == (2, True)
    assert safeguard("verify", "market", "--html", "page.html").code == 2  # no engine
    assert not Path("page.html").exists()
    Path("page.html").write_text("old")
    assert (safeguard("verify", "market", "--html", "page.html").code, Path("page.html").read_text()) == (2, "old")


def test_an_mlflow_server_that_is_down_is_named_before_a_model_is_called(safeguard: Safeguard) -> None:
    write_policy(Path("policies"))
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        down = f"tracking.uri=http://127.0.0.1:{unused.getsockname()[1]}"
        calls = ("--set", "engine.args.calls_file=calls")
        ran = safeguard("verify", "market", *SCRIPTED, *calls, "--mlflow", "--set", down)
    assert (ran.code, "cannot be reached" in ran.err, Path("calls").exists()) == (5, True, False)


def test_mlflow_gets_a_run_for_each_side_with_its_figures_and_no_content(
    safeguard: Safeguard, empty_store: Path, tmp_path: Path
) -> None:
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    store = f"sqlite:///{tmp_path}/mlflow.db"
    tracking = ("--mlflow", "--set", f"tracking.uri={store}", "--set", "tracking.experiment=texts")
    write_policy(Path("policies"))
    other = ("--versus", "engine.args={words: {replica: M1}, misbehave: {truck: fail}}")
    assert safeguard("verify", "market", *SCRIPTED, *ALL_RIGHT, *other, *tracking).code == 0
    client = mlflow_client(store)
    runs = client.search_runs([client.get_experiment_by_name("texts").experiment_id])
    by_status = {run.data.params["status"]: run for run in runs}
    for name, recall in (("passed", 1.0), ("engine_failed", 0.5)):
        run = by_status.pop(name)
        assert (run.info.run_name, run.info.status) == ("verify market@1.0.0", "FINISHED")
        assert run.data.params["policy_hash"] == parse_policy(POLICY).policy_hash
        assert run.data.params["labeler"] == "scripted/low"
        assert (run.data.metrics["cases"], run.data.metrics["recall"]) == (3, recall)
        assert "nobody can tell" not in str(run.to_dictionary())
    assert by_status == {}


@pytest.mark.parametrize("dialect", ["harmony", "chat"])
def test_the_parts_of_a_prompt_are_marked(safeguard: Safeguard, dialect: str) -> None:
    write_policy(Path("policies"))
    options = ("market", "A lamp", "--set", "engine.kind=scripted", "--set", f"engine.dialect={dialect}")
    exact, marked = safeguard("show-prompt", *options).out, safeguard("show-prompt", *options, "--mark").out
    assert "---- policy ----\n# Market" in marked and "---- content ----\nA lamp\n" in marked
    value = json.loads(safeguard("show-prompt", *options, "--json").out)
    assert "".join(part["text"] for part in value["parts"]) + "\n" == exact
    assert [part["text"] for part in value["parts"] if part["kind"] == "content"] == ["A lamp"]
