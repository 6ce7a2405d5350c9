"""A report of a period, for pictures and for the browser."""

import json
from datetime import date

from safeguard_spark.report.indicators import Active, Indicator, Period, Report, overturn_indicators, sample_indicators


def made_up_report() -> Report:
    """A month of a table of a million, with made-up decisions."""
    about = {"sample_id": "s4f1c2a90b77", "collection": "posts", "policy": "marketplace", "policy_version": "1.0.0",
             "labeler": "gpt-oss-safeguard-20b/low", "drawn_at": 0}  # fmt: skip
    draw = json.dumps({"strata": {"flagged": 20_412, "unflagged": 979_588}})
    strata = [
        {**about, "draw": draw, "stratum": name, "stratum_size": size, "items": n, "decided": n, "violations": hits,
         "safe": n - hits - 3, "undecided": 3, "changed": 4,
         "violations_not_judged": 0, "safe_not_judged": 0, "undecided_not_judged": 0}
        for name, size, n, hits in (("flagged", 20_412, 490, 391), ("unflagged", 979_588, 1_468, 2))
    ]  # fmt: skip
    overturns = [
        {**about, "violation": True, "rule": rule, "is_sample": True, "decided": n, "overturned": k}
        for rule, n, k in (("CF", 201, 22), ("RE", 143, 51), ("WE", 88, 9))
    ]
    key = ("marketplace", "1.0.0", "gpt-oss-safeguard-20b/low", "posts")
    counts = [Indicator("labels_contents", 1_000_000, *key), Indicator("labels_flagged", 20_412, *key)]
    cost = [Indicator("cost_calls", 214_310), Indicator("cost_engine_hours", 38.2)]
    period = Period(date(2026, 11, 1), date(2026, 11, 30))
    days = tuple(
        {
            "policy": "marketplace",
            "collection": "posts",
            "day": date(2026, 11, day),
            "flagged": 600 + 9 * (day % 7),
            "judged": 33_000,
        }
        for day in range(1, 31)
    )
    active = (
        Active("marketplace", "1.0.0", "gpt-oss-safeguard-20b/low", period.start, period.end, "first labelled", False),
    )
    return Report(period, (*counts, *sample_indicators(strata), *overturn_indicators(overturns), *cost), active, days)
