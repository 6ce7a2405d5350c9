"""Figures: rates with their intervals as SVG, for a page without scripts."""

from collections.abc import Callable, Iterable, Sequence
from html import escape
from itertools import pairwise
from typing import NamedTuple

from safeguard_spark.evaluation.html import scrollable

COLORS = tuple(f"var(--series-{number})" for number in range(6))  # of the page, which has them for light and dark
ROW = 24  # height of a line of words
PLOT = 420  # height and width of a scatter's plot
TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)


class Interval(NamedTuple):
    """A line of an interval figure. `note` stands at its end, for example how many contents it is about."""

    label: str
    value: float
    low: float
    high: float
    note: str = ""


class Point(NamedTuple):
    """A point of a scatter: x and y, each with the ends of its interval."""

    label: str
    x: tuple[float, float, float]
    y: tuple[float, float, float]


class Series(NamedTuple):
    """A line of a line figure: its points from left to right."""

    label: str
    points: Sequence[tuple[float, float]]


def interval_figure(
    title: str, rows: Sequence[Interval], end: float = 1.0, number: Callable[[float], str] = "{:.3g}".format
) -> str:
    """Two lines per row on an axis from 0 to `end`: its words, and below a dot at the value and a bar from low to high.

    `number` writes a value. As wide as its place; the words keep their size.
    """
    top, height = ROW, ROW + 2 * ROW * len(rows)

    def at(value: float) -> str:
        return f"{100 * value / end:.2f}%"

    parts = [_text(0, 14, title, "title")]
    for tick in TICKS:
        parts.append(_line(at(tick * end), top, at(tick * end), height, "grid"))
        parts.append(_text(at(tick * end), height + 16, number(tick * end), f"tick {_side(tick)}"))
    for position, row in enumerate(rows):
        y = top + 2 * ROW * position
        parts.append(_text(0, y + 16, _short(row.label, 40), ""))
        parts.append(_text("100%", y + 16, ", ".join(filter(None, (number(row.value), row.note))), "end"))
        parts.append(_line(at(row.low), y + 30, at(row.high), y + 30, "bar"))
        parts.append(f'<circle cx="{at(row.value)}" cy="{y + 30}" r="4" class="dot"/>')
    return _svg(None, height + 24, title, parts)


def scatter(title: str, x_name: str, y_name: str, points: Sequence[Point]) -> str:
    """Points with the intervals of both coordinates. y goes from 0 to 1, x to 1 or beyond its largest value."""
    largest = max((point.x[2] for point in points), default=1.0)
    end = 1.0 if largest <= 1 else largest * 1.1
    left, top = 60, 30

    def x_at(value: float) -> float:
        return left + value / end * PLOT

    def y_at(value: float) -> float:
        return top + (1 - value) * PLOT

    parts = [_text(0, 14, title, "title")]
    for tick in TICKS:
        parts.append(_line(x_at(tick * end), top, x_at(tick * end), top + PLOT, "grid"))
        parts.append(_line(left, y_at(tick), left + PLOT, y_at(tick), "grid"))
        label = f"{tick:g}" if end == 1 else f"{tick * end:,.{0 if end >= 100 else 2}f}"
        parts.append(_text(x_at(tick * end), top + PLOT + 16, label, "tick middle"))
        parts.append(_text(left - 8, y_at(tick) + 4, f"{tick:g}", "tick end"))
    parts.append(_text(left + PLOT / 2, top + PLOT + 36, x_name, "middle"))
    parts.append(_text(left + 6, top + 14, y_name, ""))
    for number, point in enumerate(points):
        color = COLORS[number % len(COLORS)]
        (x, x_low, x_high), (y, y_low, y_high) = point.x, point.y
        style = f'style="stroke: {color}; stroke-width: 2"'
        parts.append(_line(x_at(x_low), y_at(y), x_at(x_high), y_at(y), "", style))
        parts.append(_line(x_at(x), y_at(y_low), x_at(x), y_at(y_high), "", style))
        parts.append(f'<circle cx="{x_at(x):.1f}" cy="{y_at(y):.1f}" r="5" style="fill: {color}"/>')
        key_y = top + 12 + 20 * number
        parts.append(f'<circle cx="{left + PLOT + 26}" cy="{key_y - 4}" r="5" style="fill: {color}"/>')
        parts.append(_text(left + PLOT + 38, key_y, _short(point.label, 64), ""))
    return _svg(left + PLOT + 480, top + PLOT + 46, title, parts)


def line_figure(title: str, series: Sequence[Series], ends: tuple[float, float], names: tuple[str, str]) -> str:
    """Shares over time: x from the first end to the second, which have names; y from 0 to above the highest."""
    top, height = 2 * ROW, 8 * ROW
    end = axis_end(y for one in series for _, y in one.points)

    def at(x: float, y: float) -> tuple[float, float]:
        """In per cent of the width, and in pixels."""
        return 100 * (x - ends[0]) / ((ends[1] - ends[0]) or 1.0), top + (1 - y / end) * height

    parts = [_text(0, 14, title, "title")]
    for tick in TICKS:
        y = at(ends[0], tick * end)[1]
        parts += [_line("0%", y, "100%", y, "grid"), _text(0, y - 3, percent(tick * end), "tick")]
    parts += [_text(0, top + height + 16, names[0], "tick"), _text("100%", top + height + 16, names[1], "tick end")]
    for position, one in enumerate(series):
        style, points = f"stroke: {COLORS[position]}; stroke-width: 2", [at(*point) for point in one.points]
        for start, stop in pairwise(points):
            parts.append(_line(f"{start[0]:.2f}%", start[1], f"{stop[0]:.2f}%", stop[1], "", f'style="{style}"'))
        x, y = points[-1]
        parts.append(f'<circle cx="{x:.2f}%" cy="{y:.1f}" r="4" style="fill: {COLORS[position]}"/>')
        key_y = top + height + ROW * (position + 1.7)
        parts.append(f'<circle cx="4" cy="{key_y - 4}" r="4" style="fill: {COLORS[position]}"/>')
        parts.append(_text(14, key_y, _short(one.label, 40), ""))
    return _svg(None, top + height + ROW * (len(series) + 1), title, parts)


def axis_end(values: Iterable[float]) -> float:
    """Where the axis of shares ends: rare ones would be a line at zero on one that ends at 1."""
    highest = max(values, default=1.0)
    return next((end for end in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if highest <= end), 1.0)


def percent(value: float) -> str:
    """A share in per cent, to two places if it needs them."""
    return f"{100 * value:.2f}".rstrip("0").rstrip(".") + "%"


def _side(tick: float) -> str:
    """Which part of the words at a tick is there, so that none leave the figure."""
    return {0.0: "", 1.0: "end"}.get(tick, "middle")


def _svg(width: float | None, height: float, title: str, parts: Sequence[str]) -> str:
    """A figure of a width in units, which grow with the page; or, without one, as wide as the page, in pixels."""
    size = f'height="{height:.0f}"' if width is None else f'viewBox="0 0 {width:.0f} {height:.0f}" class="wide"'
    svg = f'<svg {size} width="100%" role="img" aria-label="{escape(title, quote=True)}">{"".join(parts)}</svg>'
    return svg if width is None else scrollable(svg, f"Figure: {title}")


def _line(x1: float | str, y1: float, x2: float | str, y2: float, kind: str, style: str = "") -> str:
    return f'<line x1="{_length(x1)}" y1="{y1:.1f}" x2="{_length(x2)}" y2="{y2:.1f}" class="{kind}" {style}/>'


def _text(x: float | str, y: float, text: str, kind: str, style: str = "") -> str:
    return f'<text x="{_length(x)}" y="{y:.1f}" class="{kind}" {style}>{escape(text)}</text>'


def _length(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.1f}"


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
