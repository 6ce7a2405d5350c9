"""A report says how sure each figure is, what cannot be measured, and nothing about single contents."""

import csv
import json
import re
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

from safeguard_spark.report.indicators import (
    NO_SAMPLE,
    NO_VERDICT,
    TOO_SMALL,
    Indicator,
    Known,
    Period,
    Report,
    active_in,
    cost_indicators,
    label_indicators,
    overturn_indicators,
    queue_indicators,
    sample_indicators,
    screen_indicators,
    without_samples,
)
from safeguard_spark.report.page import report_page
from safeguard_spark.report.text import COLUMNS, figure, report_csv, report_text
from tests.unit.commands import Safeguard

pytestmark = pytest.mark.unit

KEY = {"policy": "market", "policy_version": "1.0.0", "labeler": "m/low", "collection": "posts"}
MARCH = Period(date(2026, 3, 1), date(2026, 3, 31))


NOTHING_NOT_JUDGED = {"violations_not_judged": 0, "safe_not_judged": 0, "undecided_not_judged": 0}


def strata(flagged: tuple[int, int], unflagged: tuple[int, int], **changes: Any) -> list[dict[str, Any]]:
    """Rows of `review_samples`: decided items and violations of each stratum."""
    draw = json.dumps({"strata": {"flagged": 20_000, "unflagged": 980_000}})
    shared = {**KEY, "sample_id": "s1", "draw": draw, "drawn_at": datetime(2026, 3, 2, tzinfo=UTC), **changes}
    return [
        {**shared, "stratum": name, "stratum_size": size, "items": n + 5, "decided": n, "violations": hits,
         "safe": n - hits, "undecided": 0, "changed": 1, **NOTHING_NOT_JUDGED}
        for name, size, (n, hits) in (("flagged", 20_000, flagged), ("unflagged", 980_000, unflagged))
    ]  # fmt: skip


def named(indicators: Any) -> dict[str, Indicator]:
    return {one.name: one for one in indicators}


def test_a_sample_gives_the_models_rate_and_the_corrected_one_with_interval_n_and_method() -> None:
    rates = named(sample_indicators(strata((500, 400), (1_500, 3))))
    truth = 0.02 * 0.8 + 0.98 * 0.002
    assert rates["violation_rate_model"].value == 0.02 and rates["violation_rate"].value == pytest.approx(truth)
    assert rates["recall"].value == pytest.approx(0.016 / truth) and rates["recall"].n == 403
    assert rates["error_rate"].value == pytest.approx(1 - float(rates["accuracy"].value or 0))
    for one in rates.values():
        if one.method.startswith("MOVER"):
            assert one.low is not None and one.high is not None and one.value is not None
            assert one.low < one.value < one.high, one.name
    assert (rates["sample_items"].value, rates["sample_decided"].value, rates["sample_changed"].value) == (
        2_010,
        2_000,
        2,
    )


def test_what_a_sample_cannot_show_is_said_in_place_of_a_figure() -> None:
    rates = named(sample_indicators(strata((29, 20), (1_500, 3))))
    assert rates["violation_rate"].value is None and rates["violation_rate"].note == TOO_SMALL
    # A stratum without an item is missed: the draw says how large it is.
    only = named(sample_indicators(strata((500, 400), (1_500, 3))[1:]))
    assert only["violation_rate"].value is None and only["precision"].value is None
    in_use = list(
        label_indicators([{**KEY, "contents": 9, "flagged": 3, "screened": 0, "escalated": 1, "not_judged": 2}], [])
    )
    assert {one.note for one in without_samples(in_use)} == {NO_SAMPLE}
    assert not list(without_samples([*in_use, *sample_indicators(strata((500, 400), (1_500, 3)))]))


def test_what_a_screen_cleared_is_counted_with_its_labelers_labels() -> None:
    rates = [
        {**KEY, "contents": 100, "flagged": 10, "screened": 0, "escalated": 0, "not_judged": 0},
        {
            **KEY,
            "labeler": "screen/s1",
            "contents": 300,
            "flagged": 0,
            "screened": 300,
            "escalated": 0,
            "not_judged": 0,
        },
    ]
    counts = named(label_indicators(rates, []))
    assert (counts["labels_contents"].value, counts["model_flagged_share"].value) == (400, 10 / 400)
    split = strata(
        (500, 400), (1_500, 3), draw=json.dumps({"strata": {"flagged": 1, "unflagged": 9}, "labeler": "m/low"})
    )
    assert named(sample_indicators([{**row, "labeler": "screen/s1"} for row in split]))["recall"].labeler == "m/low"


def test_what_has_no_verdict_is_in_no_share_and_counted_beside_it() -> None:
    half = {**KEY, "contents": 400, "flagged": 10, "screened": 0, "escalated": 30, "not_judged": 200}
    counts = named(label_indicators([half], []))
    assert (counts["model_flagged_share"].value, counts["model_flagged_share"].n) == (10 / 200, 200)
    assert (counts["labels_contents"].value, counts["labels_not_judged"].value) == (400, 200)
    (share,) = [one for one in label_indicators([{**half, "flagged": 0, "not_judged": 400}], []) if one.is_share]
    assert (share.value, share.note, figure(share)) == (None, NO_VERDICT, "-")

    # Half of what is not flagged was refused: people find those contents safe, and the label does not say so.
    sizes = {"strata": {"flagged": 20_000, "unflagged": 980_000}, "not_judged": 490_000}
    flagged, unflagged = strata((500, 400), (1_500, 3), draw=json.dumps(sizes))
    read = {**unflagged, "safe_not_judged": 748, "violations_not_judged": 2}
    rates = named(sample_indicators([flagged, read]))
    assert (rates["violation_rate_model"].value, rates["violation_rate_model"].n) == (20 / 510, 510_000)
    assert rates["accuracy"].value == pytest.approx((20_000 * 0.8 + 490_000 * 749 / 750) / 510_000)
    assert rates["accuracy"].n == 500 + 750
    # What is a violation does not depend on what the label says.
    whole = named(sample_indicators(strata((500, 400), (1_500, 3))))
    assert all(rates[name] == whole[name] for name in ("violation_rate", "precision", "recall"))
    nothing = json.dumps({"strata": {"flagged": 0, "unflagged": 99}, "not_judged": 99})
    refused = strata((0, 0), (99, 3), draw=nothing)[1] | {"safe_not_judged": 96, "violations_not_judged": 3}
    rates = named(sample_indicators([refused]))
    assert rates["violation_rate_model"].value is None and rates["violation_rate_model"].note == NO_VERDICT
    assert rates["accuracy"].value is None and rates["violation_rate"].value == pytest.approx(3 / 99)


def test_only_random_items_have_a_rate_of_overturns() -> None:
    shared = {**KEY, "violation": True, "decided": 50, "overturned": 40}
    rows = [{**shared, "rule": "M1", "is_sample": True}, {**shared, "rule": "M1", "is_sample": False}]
    (one,) = overturn_indicators(rows)
    assert (one.value, one.about, one.n, one.method) == (0.8, "rule M1", 50, "Clopper-Pearson")
    queues = [{**KEY, "purpose": "appeal", "items": 9, "decided": 8, "waiting": 1, "disputed": 0, "overturned": 5,
               "median_hours": 30.5}]  # fmt: skip
    counts = named(queue_indicators(queues))
    assert counts["review_overturned"].value == 5 and not any(one.is_share for one in counts.values())
    assert figure(counts["hours_to_decision"]) == "30.5"


def test_versions_are_active_on_days_of_the_period_alone() -> None:
    def row(version: str, start: datetime, until: datetime | None) -> dict[str, Any]:
        return {
            **KEY,
            "policy_version": version,
            "active_from": start,
            "active_until": until,
            "reason": "r",
            "forced": None,
        }

    changed, later = datetime(2026, 3, 10, 23, 59, tzinfo=UTC), datetime(2026, 4, 2, tzinfo=UTC)
    rows = [
        row("1.0.0", datetime(2026, 1, 1, tzinfo=UTC), changed),
        row("1.1.0", changed, later),
        row("1.2.0", later, None),
    ]
    listed = [(one.policy_version, one.start.day, one.end.day) for one in active_in(MARCH, rows, date(2026, 11, 1))]
    assert listed == [("1.0.0", 1, 10), ("1.1.0", 10, 31)]
    # A period that is not over: up to today.
    assert [one.end.day for one in active_in(MARCH, rows, date(2026, 3, 20))] == [10, 20]


@pytest.fixture
def report() -> Report:
    cost = [{"runs": 2, "calls": 100, "labels": 90, "prompt_tokens": 5, "cached_tokens": None, "completion_tokens": 7,
             "engine_hours": 1.5}]  # fmt: skip
    hostile = sample_indicators(strata((500, 400), (1_500, 3), policy="<b>=market</b>", collection="=HYPERLINK(1)"))
    indicators = (*hostile, *cost_indicators(cost, 2.0), Indicator("recall", None, "other", "1.0.0", note=TOO_SMALL))
    days = tuple(
        {"policy": "market", "collection": "posts", "day": date(2026, 3, day), "flagged": day, "judged": 100}
        for day in (1, 2, 3)
    )
    active = tuple(active_in(MARCH, [{**KEY, "active_from": datetime(2026, 1, 1, tzinfo=UTC), "active_until": None,
                                      "reason": "first labelled", "forced": True}], MARCH.end))  # fmt: skip
    return Report(MARCH, indicators, active, days, "EUR")


def test_the_csv_has_one_figure_a_line_and_no_formula(report: Report) -> None:
    rows = list(csv.DictReader(report_csv(report).splitlines()))
    assert tuple(rows[0]) == COLUMNS and len(rows) == len(report.indicators) + 1
    (rate,) = (row for row in rows if row["indicator"] == "violation_rate")
    assert (rate["period_start"], rate["known"], rate["unit"], rate["n"]) == ("2026-03-01", "now", "share", "2000")
    assert float(rate["low"]) < float(rate["value"]) < float(rate["high"]) and rate["confidence_level"] == "0.95"
    assert rate["collection"] == "'=HYPERLINK(1)"
    (money,) = (row for row in rows if row["indicator"] == "cost_money")
    assert (money["value"], money["unit"]) == ("3", "EUR")
    (missing,) = (row for row in rows if row["indicator"] == "recall" and row["policy"] == "other")
    assert missing["value"] == missing["low"] == "" and missing["note"] == TOO_SMALL


def test_the_page_and_the_text_have_every_figure_escaped(report: Report) -> None:
    page, text = report_page(report), report_text(report)
    for name in ("violation rate", "precision", "recall", "cost money", "not measurable"):
        assert name in page and name in text
    assert "<b>=market" not in page and "&lt;b&gt;=market" in page
    assert page.count("<svg") == 3 and "<script" not in page and "http" not in page.replace("http-equiv", "")
    assert "2026-03-01 to 2026-03-31, as known now" in page and "against its gate" in text
    assert str(Period(MARCH.start, MARCH.end, Known.then)).endswith("as it stood at its end")
    assert json.loads(json.dumps(report.to_json()))["period"]["start"] == "2026-03-01"


def test_golden_sets_are_named_as_left_out(report: Report) -> None:
    left_out = replace(report, golden_sets={"<i>spam": 1_200, "known": 30})
    assert (
        "Left out: golden sets, which are no content of the platform: <i>spam (1,200 labels), known (30 labels)."
        in (report_text(left_out))
    )
    assert "&lt;i&gt;spam (1,200 labels)" in report_page(left_out) and "Left out" not in report_page(report)
    assert left_out.to_json()["golden_sets"]["known"] == 30


def test_a_report_of_nothing_says_so(report: Report) -> None:
    cost = tuple(cost_indicators([], None))
    for empty, words in (
        (Report(None, ()), "No item has been drawn for review yet."),
        (Report(MARCH, cost), "No label was in use, and no item was drawn for review."),
    ):
        assert words in report_text(empty) and words in report_page(empty)
        assert words not in report_text(report)


def test_the_picture_of_days_keeps_collections_apart_and_has_no_line_without_a_verdict(report: Report) -> None:
    def days(policy: str, collection: str, judged: int, flagged: int) -> list[dict[str, Any]]:
        shared = {"policy": policy, "collection": collection, "judged": judged, "flagged": flagged}
        return [{**shared, "day": date(2026, 3, day)} for day in (1, 2, 3)]

    rows = [*days("market", "posts", 100, 2), *days("market", "golden", 10, 9), *days("unread", "posts", 0, 0)]
    page = report_page(replace(report, days=tuple(rows)))
    assert "market on posts" in page and "market on golden" in page and "unread" not in page
    figure_of_days = page.partition("flagged share by the day")[2].partition("</svg>")[0]
    heights = set(re.findall(r'cx="[1-9][\d.]*%" cy="([\d.]+)"', figure_of_days))
    assert heights == {f"{48 + (1 - share) * 192:.1f}" for share in (0.02, 0.9)}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--from", "2026-3-1", "--to", "2026-03-02"], "is no day"),
        (["--from", "2026-03-02", "--to", "2026-03-01"], "is before"),
        (["--from", "9999-12-31", "--to", "9999-12-31"], "is in the future"),
        (["--from", "2026-03-01", "--to", "2026-03-01", "--known", "later"], "now or then"),
        (["--from", "2026-03-01", "--to", "2026-03-01", "--csv", "nowhere/x.csv"], "--csv nowhere/x.csv"),
    ],
)
def test_a_wrong_period_is_said_before_spark_starts(safeguard: Safeguard, options: list[str], words: str) -> None:
    with open("run.yaml", "w") as file:
        file.write("engine: {kind: scripted}\n")
    ran = safeguard("report", "--config", "run.yaml", "--output", "tables", *options)
    assert ran.code == 2 and words in ran.err


def test_a_screens_recall_has_its_bound_and_says_what_it_is_relative_to() -> None:
    audit = {"screen_id": "s1f3a09c24e7", "checked": 800, "recall": 0.97, "recall_low": 0.931, "target": 0.95}
    (one,) = screen_indicators([{**KEY, **audit, "finding": "not_shown"}])
    assert (one.value, one.low, one.n, one.is_share) == (0.97, 0.931, 800, True)
    assert figure(one) == "97.00% (93.10% to 100.00%)"
    text = report_text(Report(MARCH, (one,)))
    assert "screen recall, screen s1f3a09c24e7" in text
    assert "of what the labeler finds; target 95%, not shown" in text
