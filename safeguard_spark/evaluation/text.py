"""Text: an evaluation for people, on the terminal."""

from collections.abc import Iterator

from safeguard_spark.evaluation.layout import share
from safeguard_spark.evaluation.measures import Measure, Metric
from safeguard_spark.evaluation.result import Evaluation, SetResult, SideResult, by_slice
from safeguard_spark.policy.document import ALL
from safeguard_spark.terminal import aligned, as_lines, counted

SHOWN = (Measure.recall, Measure.precision, Measure.f1, Measure.false_positive_rate, Measure.unreadable_rate)
MAX_ROWS = 40  # slices, or names, of a policy on the terminal; --json and the page have all


def evaluation_text(evaluation: Evaluation) -> str:
    """The report: per set and side a table per policy, then differences, checks and the gate."""
    lines: list[str] = []
    for result in evaluation.sets:
        for side in result.sides:
            lines += _side(result, side, evaluation.currency)
        lines += [f"  {note}" for note in result.notes]
        lines += [f"  {check.policy} {check.check}: {check.sentence}" for check in result.checks]
        lines.append("")
    lines += [f"gate: {line}" for line in evaluation.gate]
    lines += [f"gate, not decided here: {line}" for line in evaluation.not_decided]
    where = "recorded answers, no call" if evaluation.answers != "model" else counted(evaluation.calls, "call", "calls")
    lines.append(f"Evaluation {evaluation.evaluation_id}: {where}.")
    return as_lines([*lines, ""])


def _side(result: SetResult, side: SideResult, currency: str) -> Iterator[str]:
    yield f"{result.ref}: {side.name}"
    exact = side.metric(ALL, Measure.exact_match)
    if exact is not None and len(side.evaluated) > 1:
        yield f"  every policy right: {share(exact)} of {counted(exact.n, 'content', 'contents')}"
    for one in side.evaluated:
        whole = side.metric(one.policy, Measure.recall)
        if whole is None:
            continue
        yield f"  {one.policy}: {_counts(whole)}"
        if one.tokens is not None:
            cost = "" if one.cost is None else f", {one.cost:,.2f} {currency}".rstrip()
            yield f"    {one.tokens:,.0f} tokens{cost} per thousand calls"
        yield from (f"    {line}" for line in _metrics(side, one.policy))
        yield from (f"    {line}" for line in _names(side, one.policy))
    rows = [d for d in side.differences if d.slice == ALL and d.value is not None]
    if rows:
        yield f"  {result.first.name} minus {side.name}, same contents:"
    for difference in rows:
        policy = "every policy" if difference.policy == ALL else difference.policy
        yield (
            f"    {policy} {difference.metric} {difference.value:+.3f} ({difference.low:+.3f} to "
            f"{difference.high:+.3f}), McNemar p {difference.p_value:.2g}, {difference.first_only} to "
            f"{difference.second_only} of {difference.n:,}"
        )


def _counts(metric: Metric) -> str:
    violations = counted(metric.positives or 0, "violation", "violations")
    parts = [f"{counted(metric.n, 'content', 'contents')}, {violations}"]
    parts.append(f"tp {metric.tp:,} fp {metric.fp:,} fn {metric.fn:,} tn {metric.tn:,}")
    parts.append(f"{metric.unreadable:,} unreadable (counted as wrong)")
    parts += [f"{metric.unknown:,} unknown (left out)"] if metric.unknown else []
    return "; ".join(parts)


def _metrics(side: SideResult, policy: str) -> list[str]:
    slices = by_slice(side.metrics, policy)
    has_noise = any(Measure.disagreement in metrics for metrics in slices.values())
    shown = (*SHOWN, Measure.disagreement) if has_noise else SHOWN
    head = ("slice", "contents", "violations", *(name.replace("_", " ") for name in shown))
    rows = [head]
    for slice_, metrics in list(slices.items())[:MAX_ROWS]:
        recall = metrics[Measure.recall]
        values = (share(metrics.get(name)) for name in shown)
        rows.append((slice_, f"{recall.n:,}", f"{recall.positives:,}", *values))
    more = ["and " + counted(len(slices) - MAX_ROWS, "more slice", "more slices")] if len(slices) > MAX_ROWS else []
    return [*aligned(rows), *more]


def _names(side: SideResult, policy: str) -> list[str]:
    by_name = by_slice(side.names, policy)
    if not by_name:
        return []
    rows = [("named", "by people", "by the labeler", "recall", "precision")]
    for name, metrics in list(by_name.items())[:MAX_ROWS]:
        precision, recall = metrics[Measure.precision], metrics.get(Measure.recall)
        people = "-" if recall is None else f"{recall.positives:,}"
        flagged = (precision.tp or 0) + (precision.fp or 0)
        rows.append((name, people, f"{flagged:,}", share(recall), share(precision)))
    return aligned(rows)
