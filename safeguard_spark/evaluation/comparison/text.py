"""Comparison output: for people on a terminal, and for programs."""

from collections.abc import Sequence
from typing import Any

from safeguard_spark.evaluation.comparison.compare import Comparison, Flip, Floor, Group, Significance
from safeguard_spark.evaluation.intervals import Difference, Rate

NAMES = {
    Flip.stricter: "stricter",
    Flip.permissive: "more permissive",
    Flip.moved: "moved to another category or rule",
    Flip.unread: "with a verdict under one version only",
}


def comparison_text(found: Comparison, coverage: str) -> str:
    """Rates first, then what the difference is worth, then category by category and rule by rule."""
    lines = [f"{found.old} -> {found.new}: {found.compared:,} contents labelled under both", f"  {coverage}", ""]
    lines.append(f"  violation rate  {percent(found.violation_old)} -> {percent(found.violation_new)}")
    lines.append(f"                  McNemar's exact test: p {p_value(found.p_value)}")
    lines.append(f"  flips           {percent(found.flipped)}")
    lines += [f"    {percent(found.flips[kind])}  {name}" for kind, name in NAMES.items() if found.flips.get(kind)]
    lines.append(f"  noise           {noise_text(found)}")
    if found.unexplained is not None and found.changes.any:
        lines.append(f"  unexplained     {percent(found.unexplained)} flipped where no changed rule was named")
    if found.unseen:
        lines.append(f"  not seen        {found.unseen:.1%} of the table is in strata of which nothing was compared")
    for title, groups in (("category", found.categories), ("rule", found.rules)):
        if groups:
            lines += ["", *(f"  {line}" for line in comparison_table(title, groups))]
    return "\n".join([*lines, "", comparison_verdict(found), ""])


def comparison_verdict(found: Comparison) -> str:
    """One sentence: is there a difference, and where."""
    if found.standing is Significance.unknown:
        return (
            "Whether the difference is more than noise is not known: label a share twice (safeguard relabel compare "
            "… --noise-share 0.02)."
        )
    if found.standing is Significance.within:
        return f"Within noise: the versions differ no more than one differs from itself:{_seen(found.floor)}."
    named = [f"{group.name} ({group.direction})" for group in found.beyond]
    return f"Beyond noise in: {', '.join(named) or 'no single category'}; all together{_seen(found.floor)}."


def _seen(floor: Floor) -> str:
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
        standing = "" if group.floor.standing is Significance.unknown else group.floor.standing.value
        rows.append((group.name, f"{group.old:,}", f"{group.new:,}", *flips, *shares, standing))
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = []
    for first, *rest in rows:
        cells = [cell.rjust(width) for cell, width in zip(rest[:-1], widths[1:-1], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells, rest[-1]]).rstrip())
    return lines


def noise_text(found: Comparison) -> str:
    """The noise floor in words."""
    if found.floor.noise is None:
        return "not measured"
    return f"{percent(found.floor.noise)} of {found.noise_contents:,} contents labelled twice under one version"


def percent(rate: Rate | None) -> str:
    """A share with its interval."""
    return "-" if rate is None else f"{rate.value:.1%} ({rate.low:.1%} to {rate.high:.1%})"


def p_value(p: float) -> str:
    """A p value as it is written."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def comparison_json(found: Comparison) -> dict[str, Any]:
    """For programs."""
    return {
        "old": found.old,
        "new": found.new,
        "compared": found.compared,
        "weighted": found.weighted,
        "unseen": found.unseen,
        "standing": found.standing.value,
        "flipped": _plain(found.flipped),
        "flips": {kind.value: _plain(rate) for kind, rate in found.flips.items()},
        "noise": _plain(found.floor.noise),
        "noise_contents": found.noise_contents,
        "excess": _plain(found.floor.excess),
        "violation_rate": {"old": _plain(found.violation_old), "new": _plain(found.violation_new)},
        "mcnemar_p": found.p_value,
        "unexplained": _plain(found.unexplained),
        "categories": [_group(group) for group in found.categories],
        "rules": [_group(group) for group in found.rules],
        "matrix": [{"old": old, "new": new, "contents": count} for (old, new), count in sorted(found.matrix.items())],
        "changes": found.changes.to_json(),
    }


def comparison_metrics(found: Comparison) -> dict[str, float]:
    """The numbers MLflow keeps."""
    rates = {
        "flipped": found.flipped,
        "noise": found.floor.noise,
        "unexplained": found.unexplained,
        "violation_rate.old": found.violation_old,
        "violation_rate.new": found.violation_new,
        **{f"flips.{kind.value}": rate for kind, rate in found.flips.items()},
    }
    named = {name: rate.value for name, rate in rates.items() if rate is not None}
    return {**named, "compared": found.compared, "mcnemar_p": found.p_value}


def _group(group: Group) -> dict[str, Any]:
    return {
        "name": group.name,
        "old": group.old,
        "new": group.new,
        "direction": group.direction,
        "flips": {kind.value: count for kind, count in group.flips.items()},
        "flipped": _plain(group.flipped),
        "noise": _plain(group.floor.noise),
        "excess": _plain(group.floor.excess),
        "standing": group.floor.standing.value,
    }


def _plain(value: Rate | Difference | None) -> dict[str, Any] | None:
    return None if value is None else value._asdict()
