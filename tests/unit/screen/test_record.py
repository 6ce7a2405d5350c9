"""A screen's record: its identity, whom it refuses, how much it audits, and what is said of it."""

import re
from typing import Any

import numpy as np
import pytest

from safeguard_spark.errors import ConfigError
from safeguard_spark.evaluation.intervals import Rate
from safeguard_spark.policy.document import Severity
from safeguard_spark.relabel.scope import Scope, parse_scope
from safeguard_spark.screen.audit import Audit
from safeguard_spark.screen.plan import ScreenPlan, Spared, plan_text
from safeguard_spark.screen.record import (
    Screen,
    audit_text,
    fallen_text,
    refuse_critical,
    retired_text,
    stratum_thresholds,
)
from safeguard_spark.screen.text import list_text, show_text
from safeguard_spark.screen.threshold import Point, Scored, Threshold, Thresholds, savings, thresholds_of
from tests.build import label_spec, policy

pytestmark = pytest.mark.unit

SPEC = label_spec(policy())


def screen(**changes: Any) -> Screen:
    """A linear screen for SPEC, with a target of 95 %."""
    values: dict[str, Any] = {
        "kind": "linear", "policy": "market", "policy_version": "1.0.0", "policy_hash": SPEC.policy.policy_hash,
        "labeler": SPEC.labeler.name, "labeler_hash": SPEC.labeler.labeler_hash, "target": 0.95, "risk": 0.05,
        "threshold": -1.5, "rank": 3, "positives": 160, "contents": 10_000, "prevalence": 0.04, "cleared": 0.6,
        "cleared_low": 0.55, "cleared_high": 0.65, "recall": 0.97, "recall_low": 0.93, "critical": False,
        "collection": "posts", "labels_version": 7, "artifact": "runs:/1/screen.skops", "artifact_sha256": "ab",
    }  # fmt: skip
    return Screen(**{**values, **changes})


def test_what_decides_what_it_clears_is_its_identity_and_nothing_else() -> None:
    decisive = {"kind": "glance", "policy_hash": "0", "labeler_hash": "0", "threshold": -1.4, "artifact_sha256": "cd"}
    ids = {screen(**{name: value}).screen_id for name, value in decisive.items()}
    assert len(ids | {screen().screen_id}) == 6 and all(re.fullmatch("s[0-9a-f]{11}", id) for id in ids)
    assert screen(recall=None, retired_reason="why", artifact="elsewhere").screen_id == screen().screen_id


def test_it_is_refused_for_another_text_and_for_another_labeler() -> None:
    screen().refuse_other(SPEC)
    with pytest.raises(ConfigError, match=r"is for the text of market@1\.0\.0 .*safeguard screen train"):
        screen().refuse_other(label_spec(policy(version="1.1.0", text="Nothing.")))
    with pytest.raises(ConfigError, match=r"stands in for labeler scripted/medium"):
        screen().refuse_other(label_spec(policy(), labeler={"effort": "high"}))


def test_a_policy_with_critical_rules_is_screened_only_if_that_is_said() -> None:
    critical = policy()
    rule = critical.rules[0].model_copy(update={"severity": Severity.critical})
    critical = critical.model_copy(update={"rules": (rule, *critical.rules[1:])})
    refuse_critical(policy(), allowed=False)
    refuse_critical(critical, allowed=True)
    with pytest.raises(ConfigError, match=r"critical rules \(M1\).*--critical"):
        refuse_critical(critical, allowed=False)


@pytest.mark.parametrize(
    ("cleared", "configured", "checks"),
    [
        (0, None, 0),
        (40, None, 40),
        (500, None, 100),
        (5_000, None, 500),
        (800_000, None, 1_197),
        (500, 7, 7),
        (5, 7, 5),
    ],
)
def test_an_audit_is_as_large_as_the_target_needs_within_limits(
    cleared: int, configured: int | None, checks: int
) -> None:
    assert screen().checks_of_run(cleared, max(1, round(cleared / 0.8)), 0, configured) == checks


def test_an_audit_says_which_counts_retire_the_screen() -> None:
    broken, past = Audit(400, 8_000, 800, 20), Audit(9_000, 100_000, 3_000, 1)
    sentence = retired_text(screen(), past + broken)
    assert sentence.startswith("By the audit of this run it keeps at most 7") and "target of 95%" in sentence
    slow = Audit(400, 8_000, 100, 1)
    assert "By the audit of all its runs" in retired_text(screen(), Audit(400, 8_000, 5_000, 100) + slow)
    small = sum((Audit(4, 80, 40, 10) for _ in range(5)), Audit())
    assert "By the audit of its last 3 runs" in retired_text(screen(), past + small)


def test_without_a_violation_in_any_run_an_audit_shows_no_share() -> None:
    quiet, past = Audit(0, 300, 100, 0), Audit(40, 300, 100, 0)
    assert audit_text(screen(), quiet, quiet).endswith(
        "has had a violation yet, so they do not show which share it keeps."
    )
    assert "it keeps at least 81.7% (95 %)" in audit_text(screen(), quiet, past + quiet)


def test_an_edit_says_what_another_screen_costs() -> None:
    sentence = fallen_text(screen(), policy(version="1.1.0"))
    assert "clears nothing under market@1.1.0" in sentence
    assert "at least 59 violations to calibrate on: about 3,688 contents" in sentence  # 59 / 0.4 / 0.04


def test_screens_are_listed_and_shown_with_their_audits() -> None:
    assert "There are no screens" in list_text([])
    retired = screen(retired_reason="A new season.")
    assert [line.split()[-1] for line in list_text([screen(), retired]).splitlines()] == ["state", "usable", "retired"]
    text = show_text(retired, [("r1", Audit(90, 1_000, 100, 0)), ("r2", Audit(10, 500, 50, 1))])
    assert "Retired: A new season." in text
    assert [line.split()[:5] for line in text.splitlines()[-3:]] == [
        ["r1", "90", "1,000", "100", "0"], ["r2", "10", "500", "50", "1"], ["all", "100", "1,500", "150", "1"],
    ]  # fmt: skip


def planned(*points: Point, unlabelled: int = 50_000) -> ScreenPlan:
    targets = tuple(Spared(point, savings(point, unlabelled, 0.04), None) for point in points)
    parts = {"train": (4_000, 160), "calibration": (4_000, 160), "test": (2_000, 80)}
    return ScreenPlan("linear", "market@1.0.0", "m/low", 10_000, parts, unlabelled, 60_000, targets)


def test_a_plan_says_what_cannot_be_shown_what_is_not_worth_it_and_how_to_go_on() -> None:
    thresholds = Thresholds({None: Threshold(0.95, 0.05, 160, 3, -1.0)}, {}, None)
    half, little = (Rate(share, share - 0.02, share + 0.02, 1, 2_000, 2_000) for share in (0.5, 0.05))
    shown, poor = Point(0.95, 59, thresholds, half, half), Point(0.9, 29, thresholds, little, half)
    text = plan_text(planned(Point(0.99, 299, Thresholds({}, {None: 160}, 299)), shown, poor))
    assert "cannot be shown" in text and "not worth it" in text
    assert "safeguard screen train --policy market@1.0.0 --target 0.95" in text
    assert planned(shown).to_json()["targets"][0]["worth_it"] is True
    assert "Not worth it: at no target" in plan_text(planned(Point(0.99, 299, Thresholds({}, {None: 160}, 299)), poor))


def test_a_screen_with_strata_says_which_are_screened_and_what_the_others_need() -> None:
    calibration = Scored(
        np.arange(300.0), np.arange(300) < 250, ["de"] * 160 + ["tr\x1b"] * 60 + [None] * 20 + ["en"] * 60
    )
    thresholds = thresholds_of(calibration, 0.95)
    values = {"strata": "lower(lang)", "threshold": None, "thresholds": stratum_thresholds(thresholds)}
    stratified = screen(**values)
    assert Screen(**stratified.model_dump()) == stratified
    assert [line.split() for line in show_text(stratified, []).splitlines()[5:8]] == [
        ["de", "160", "3"], ["tr\\x1b", "60", "not", "screened:", "72", "are", "needed"],
        ["en", "10", "not", "screened:", "72", "are", "needed"],
    ]  # fmt: skip
    # Its identity has its thresholds and what they are by; contents of any other stratum are not cleared.
    others = [screen(**{**values, "strata": "lang"}), screen(**{**values, "thresholds": values["thresholds"][1:]})]
    assert len({one.screen_id for one in (stratified, screen(), *others)}) == 4
    assert stratified.distances(np.full(4, 1.0), ["de", "en", "fr", None]).tolist() == [-2.0, *3 * [np.inf]]
    assert stratified.distances(np.full(2, -5.0)).tolist() == [np.inf, np.inf]
    plan = planned(Point(0.95, 59, thresholds))._replace(strata="lower(lang)")
    assert "95% for de 160; not screened, for want of 72: tr\\x1b 60, en 10." in plan_text(plan)


def test_the_scope_of_what_a_screen_cleared_is_stored_and_others_are_stored_as_before() -> None:
    scope = parse_scope("screened-by s1f3a09c24e7")
    assert Scope.model_validate_json(scope.model_dump_json()) == scope and str(scope) == "screened-by s1f3a09c24e7"
    assert "screen" not in parse_scope("all").model_dump(mode="json")
    with pytest.raises(ConfigError, match="write all"):
        parse_scope("screened-by")
