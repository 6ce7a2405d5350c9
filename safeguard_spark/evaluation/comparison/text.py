"""Comparison output: for people on a terminal, and for programs."""

from collections.abc import Sequence
from typing import Any

from safeguard_spark.evaluation.comparison.compare import Comparison, Flip, Group, NoiseFloor, Significance
from safeguard_spark.evaluation.intervals import Difference, Rate

FLIP_NAMES = {
    Flip.stricter: "stricter",
    Flip.permissive: "more permissive",
    Flip.moved: "moved to another category or rule",
    Flip.unread: "with a verdict under one version only",
}


def comparison_text(comparison: Comparison, coverage: str) -> str:
    """Rates first, then categories and rules line by line, then whether the difference is larger than noise."""
    lines = [
        f"{comparison.old} -> {comparison.new}: {comparison.compared:,} contents labelled under both",
        f"  {coverage}",
        "",
    ]
    lines.append(f"  violation rate  {percent(comparison.violation_old)} -> {percent(comparison.violation_new)}")
    lines.append(f"                  McNemar's exact test: p {p_value(comparison.p_value)}")
    lines.append(f"  flips           {percent(comparison.flipped)}")
    lines += [
        f"    {percent(comparison.flips[kind])}  {name}"
        for kind, name in FLIP_NAMES.items()
        if comparison.flips.get(kind)
    ]
    lines.append(f"  noise           {noise_text(comparison)}")
    if comparison.unexplained is not None and comparison.changes.any:
        lines.append(
            f"  unexplained     {percent(comparison.unexplained)} flipped although neither verdict names a changed rule"
        )
    if comparison.unseen:
        lines.append(f"  not compared    {comparison.unseen:.1%} of the table is in strata without a compared content")
    for title, groups in (("category", comparison.categories), ("rule", comparison.rules)):
        if groups:
            lines += ["", *(f"  {line}" for line in comparison_table(title, groups))]
    return "\n".join([*lines, "", comparison_verdict(comparison), ""])


def comparison_verdict(comparison: Comparison) -> str:
    """One sentence: whether there is a difference, and where."""
    if comparison.significance is Significance.unknown:
        return (
            "Whether the difference is larger than noise is unknown: label a share twice (safeguard relabel compare … "
            "--noise-share 0.02)."
        )
    if comparison.significance is Significance.within:
        excess = _excess_text(comparison.floor)
        return f"Within noise: the versions differ no more than one version differs from itself:{excess}."
    names = [f"{group.name} ({group.direction})" for group in comparison.beyond_noise]
    return f"Beyond noise in: {', '.join(names) or 'no single category'}; all together{_excess_text(comparison.floor)}."


def _excess_text(floor: NoiseFloor) -> str:
    if floor.excess is None:
        return ""
    value, low, high = (100 * part for part in floor.excess)
    return f" {value:+.1f} points over noise ({low:+.1f} to {high:+.1f})"


def comparison_table(title: str, groups: Sequence[Group]) -> list[str]:
    """A line per category or rule."""
    head = (title, "before", "after", "stricter", "permissive", "moved", "flipped", "noise", "")
    rows: list[tuple[str, ...]] = [head]
    for group in groups:
        flips = [f"{group.flips.get(kind, 0):,}" for kind in (Flip.stricter, Flip.permissive, Flip.moved)]
        shares = [percent(group.flipped), percent(group.floor.noise)]
        significance = "" if group.floor.significance is Significance.unknown else group.floor.significance.value
        rows.append((group.name, f"{group.old:,}", f"{group.new:,}", *flips, *shares, significance))
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = []
    for first, *rest in rows:
        cells = [cell.rjust(width) for cell, width in zip(rest[:-1], widths[1:-1], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells, rest[-1]]).rstrip())
    return lines


def noise_text(comparison: Comparison) -> str:
    """The noise floor in words."""
    if comparison.floor.noise is None:
        return "not measured"
    return (
        f"{percent(comparison.floor.noise)} of {comparison.noise_contents:,} contents labelled twice under one version"
    )


def percent(rate: Rate | None) -> str:
    """A share with its interval."""
    return "-" if rate is None else f"{rate.value:.1%} ({rate.low:.1%} to {rate.high:.1%})"


def p_value(p: float) -> str:
    """A p-value as statisticians write it."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """For programs."""
    return {
        "old": comparison.old,
        "new": comparison.new,
        "compared": comparison.compared,
        "weighted": comparison.weighted,
        "unseen": comparison.unseen,
        "standing": comparison.significance.value,
        "flipped": _interval_json(comparison.flipped),
        "flips": {kind.value: _interval_json(rate) for kind, rate in comparison.flips.items()},
        "noise": _interval_json(comparison.floor.noise),
        "noise_contents": comparison.noise_contents,
        "excess": _interval_json(comparison.floor.excess),
        "violation_rate": {
            "old": _interval_json(comparison.violation_old),
            "new": _interval_json(comparison.violation_new),
        },
        "mcnemar_p": comparison.p_value,
        "unexplained": _interval_json(comparison.unexplained),
        "categories": [_group_json(group) for group in comparison.categories],
        "rules": [_group_json(group) for group in comparison.rules],
        "matrix": [
            {"old": old, "new": new, "contents": count} for (old, new), count in sorted(comparison.matrix.items())
        ],
        "changes": comparison.changes.to_json(),
    }


def comparison_metrics(comparison: Comparison) -> dict[str, float]:
    """The metrics of the MLflow run."""
    rates = {
        "flipped": comparison.flipped,
        "noise": comparison.floor.noise,
        "unexplained": comparison.unexplained,
        "violation_rate.old": comparison.violation_old,
        "violation_rate.new": comparison.violation_new,
        **{f"flips.{kind.value}": rate for kind, rate in comparison.flips.items()},
    }
    values = {name: rate.value for name, rate in rates.items() if rate is not None}
    return {**values, "compared": comparison.compared, "mcnemar_p": comparison.p_value}


def _group_json(group: Group) -> dict[str, Any]:
    return {
        "name": group.name,
        "old": group.old,
        "new": group.new,
        "direction": group.direction,
        "flips": {kind.value: count for kind, count in group.flips.items()},
        "flipped": _interval_json(group.flipped),
        "noise": _interval_json(group.floor.noise),
        "excess": _interval_json(group.floor.excess),
        "standing": group.floor.significance.value,
    }


def _interval_json(value: Rate | Difference | None) -> dict[str, Any] | None:
    return None if value is None else value._asdict()
