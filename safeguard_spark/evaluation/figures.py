"""Figures: rates with their intervals as SVG, for a page without scripts."""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

COLORS = ("#1f618d", "#b03a2e", "#1e8449", "#7d3c98", "#b9770e", "#566573")
WIDTH, LEFT, RIGHT, ROW = 760, 260, 150, 24
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


def interval_figure(title: str, rows: Sequence[Interval], end: float = 1.0) -> str:
    """One line per row on an axis from 0 to `end`: a dot at the value, a bar from low to high."""
    height = ROW * (len(rows) + 2)

    def at(value: float) -> float:
        return LEFT + value / end * (WIDTH - LEFT - RIGHT)

    parts = [_text(0, 14, title, "title")]
    for tick in TICKS:
        parts.append(_line(at(tick * end), ROW, at(tick * end), height - ROW, "grid"))
        parts.append(_text(at(tick * end), height - 8, f"{tick * end:g}", "tick middle"))
    for number, row in enumerate(rows):
        y = ROW * (number + 1.5)
        parts.append(_text(LEFT - 10, y + 4, _short(row.label, 40), "end"))
        parts.append(_line(at(row.low), y, at(row.high), y, "bar"))
        parts.append(f'<circle cx="{at(row.value):.1f}" cy="{y:.1f}" r="4" class="dot"/>')
        parts.append(_text(WIDTH - RIGHT + 10, y + 4, f"{row.value:.3f}  {row.note}", ""))
    return _svg(WIDTH, height, title, parts)


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
        style = f'stroke="{color}" stroke-width="2"'
        parts.append(_line(x_at(x_low), y_at(y), x_at(x_high), y_at(y), "", style))
        parts.append(_line(x_at(x), y_at(y_low), x_at(x), y_at(y_high), "", style))
        parts.append(f'<circle cx="{x_at(x):.1f}" cy="{y_at(y):.1f}" r="5" fill="{color}"/>')
        key_y = top + 12 + 20 * number
        parts.append(f'<circle cx="{left + PLOT + 26}" cy="{key_y - 4}" r="5" fill="{color}"/>')
        parts.append(_text(left + PLOT + 38, key_y, _short(point.label, 64), ""))
    return _svg(left + PLOT + 480, top + PLOT + 46, title, parts)


def line_figure(title: str, series: Sequence[Series], ends: tuple[float, float], names: tuple[str, str]) -> str:
    """Shares over time: x from the first end to the second, which have names; y from 0 to above the highest."""
    left, top, width, height = 60, 30, WIDTH - LEFT, 200
    highest = max((y for one in series for _, y in one.points), default=1.0) * 1.1 or 1.0

    def at(x: float, y: float) -> tuple[float, float]:
        across = (x - ends[0]) / ((ends[1] - ends[0]) or 1.0)
        return left + across * width, top + (1 - y / highest) * height

    parts = [_text(0, 14, title, "title")]
    for tick in TICKS:
        y = at(ends[0], tick * highest)[1]
        parts += [_line(left, y, left + width, y, "grid"), _text(left - 8, y + 4, f"{tick * highest:.3g}", "tick end")]
    parts += [
        _text(left, top + height + 16, names[0], "tick"),
        _text(left + width, top + height + 16, names[1], "tick end"),
    ]
    for number, one in enumerate(series):
        color = COLORS[number % len(COLORS)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*point) for point in one.points))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        x, y = at(*one.points[-1])
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{color}"/>']
        parts.append(_text(left + width + 10, top + 14 + ROW * number, _short(one.label, 30), "", f'fill="{color}"'))
    return _svg(WIDTH, top + height + 30, title, parts)


def _svg(width: float, height: float, title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" width="100%" role="img" '
        f'aria-label="{escape(title, quote=True)}">{"".join(parts)}</svg>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, kind: str, style: str = "") -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}" {style}/>'


def _text(x: float, y: float, text: str, kind: str, style: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" {style}>{escape(text)}</text>'


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
