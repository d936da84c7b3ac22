"""A line chart as inline SVG: no scripts, no fonts, nothing to install."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 860, 260
LEFT, RIGHT, TOP, BOTTOM = 70, 15, 30, 30
MOST_POINTS = 1000
"""Longer lines are subsampled to about this many points: the picture has no more pixels."""


@dataclass(frozen=True)
class Line:
    """One quantity over the iterations."""

    name: str
    points: Sequence[tuple[float, float]]
    """(iteration, value), iterations ascending."""
    color: str
    dots: bool = False
    """Mark each point: for the few evaluations among many iterations."""


@dataclass(frozen=True)
class Mark:
    """A vertical line across the chart."""

    at: float
    label: str


def line_chart(title: str, lines: Sequence[Line], marks: Sequence[Mark] = ()) -> str:
    """Draw the chart as an `<svg>` element with a legend.

    Args:
        title: above the chart.
        lines: the value axis spans their values; lines without points are left out.
        marks: labelled vertical lines.

    Returns:
        HTML; an empty string when there is nothing to draw.
    """
    lines = [line for line in lines if line.points]
    if not lines:
        return ""
    xs = [x for line in lines for x, _ in line.points]
    ys = [y for line in lines for _, y in line.points]
    horizontal = _Scale(min(xs), max(xs), LEFT, WIDTH - RIGHT)
    vertical = _Scale(min(ys), max(ys), HEIGHT - BOTTOM, TOP)
    parts = [f'<text x="{LEFT}" y="14" font-weight="bold">{escape(title)}</text>']
    for value in ticks(vertical.low, vertical.high):
        y = vertical(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    for value in ticks(horizontal.low, horizontal.high):
        parts.append(f'<text x="{horizontal(value):.1f}" y="{HEIGHT - 10}" text-anchor="middle">{value:g}</text>')
    for mark in marks:
        x = horizontal(mark.at)
        parts.append(f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        parts.append(f'<text x="{x + 4:.1f}" y="{TOP + 10}">{escape(mark.label)}</text>')
    parts += [_draw(line, horizontal, vertical) for line in lines]
    attributes = f'class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}"'
    return f'<svg {attributes}>{"".join(parts)}</svg><p class="legend">{" ".join(map(_legend, lines))}</p>'


def ticks(low: float, high: float) -> list[float]:
    """Return about five round numbers from `low` to `high`.

    In steps of 1, 2 or 5 times a power of ten.
    """
    if high <= low:
        return [low]
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [index * step for index in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


@dataclass(frozen=True)
class _Scale:
    """Turns values into pixels."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return self.start + share * (self.end - self.start)


def _draw(line: Line, horizontal: _Scale, vertical: _Scale) -> str:
    every = math.ceil(len(line.points) / MOST_POINTS)
    points = [*line.points[:-1:every], line.points[-1]]
    at = [f"{horizontal(x):.1f},{vertical(y):.1f}" for x, y in points]
    path = f'<polyline points="{" ".join(at)}" stroke="{line.color}"/>'
    if not line.dots:
        return path
    circles = (f'<circle cx="{x}" cy="{y}" r="3.5" fill="{line.color}"/>' for x, y in (p.split(",") for p in at))
    return path + "".join(circles)


def _legend(line: Line) -> str:
    return f'<span style="color:{line.color}">{"&#9679;" if line.dots else "&#9473;"} {escape(line.name)}</span>'
