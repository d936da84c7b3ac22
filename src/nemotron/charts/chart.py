"""Render a chart as HTML.

It has the data as JSON for chart.js, and a table of the main numbers that needs no JavaScript.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Literal

import numpy as np

from nemotron.charts.subsample import Floats, running_mean, subsample
from nemotron.printable import printable

POINTS = 3000
"""Most points of a chart, over all its series: more than a screen has columns, and about 50 kB."""
FEWEST_POINTS = 200
"""Each series may have this many, however many share a chart."""
LONG = 300
"""A line needs more points than this to have a trend."""

_HERE = Path(__file__).parent
_SCRIPTS = ("uplot/uPlot.iife.min.js", "chart.js")
_STYLES = ("uplot/uPlot.min.css", "chart.css")


@dataclass(frozen=True)
class Series:
    """One quantity along the x axis."""

    name: str
    """Shown in the legend. It may be any text: it is escaped, and secrets in it are masked."""
    x: Sequence[float] | Floats
    """Ascending."""
    y: Sequence[float | None] | Floats
    """As long as x. Points where it is None or not finite are omitted."""
    kind: Literal["line", "dots"] = "line"
    """Dots are connected by a thin line; use them for a series with few points."""
    trend: bool = False
    """For a long line: draw it faintly, with its running mean on top."""
    color: int | None = None
    """One of the eight colours of chart.css, from 0; by default the position in the chart."""


@dataclass(frozen=True)
class Marker:
    """A vertical line at an x."""

    at: float
    label: str
    """Shown above the plot, where it does not cover curves."""
    quiet: bool = False
    """A short line at the bottom of the plot, with its label on hover, for frequent events."""


@dataclass(frozen=True)
class Chart:
    """Series over one x axis, with the names of both axes."""

    title: str
    x_name: str
    y_name: str
    series: Sequence[Series]
    markers: Sequence[Marker] = ()
    log: bool = False
    """Use a logarithmic y axis; points that are not positive are omitted."""
    group: str = ""
    """Charts of one group share the x position of the cursor."""


def render_chart(chart: Chart) -> str:
    """Render one chart as a `<figure>`.

    The page must also have `render_library()` once.

    Returns:
        HTML, or an empty string if no series has a point.
    """
    drawn = [(index, series, _points(series, chart.log)) for index, series in enumerate(chart.series)]
    drawn = [(index, series, points) for index, series, points in drawn if len(points[0])]
    if not drawn:
        return ""
    most = max(POINTS // len(drawn), FEWEST_POINTS)
    data: dict[str, Any] = {
        "x": chart.x_name,
        "y": chart.y_name,
        "log": chart.log,
        "group": chart.group,
        "markers": [{"at": mark.at, "label": printable(mark.label), "quiet": mark.quiet} for mark in chart.markers],
        "series": [
            {
                "name": printable(series.name),
                "kind": series.kind,
                "color": (index if series.color is None else series.color) % 8,
                **_to_json(*subsample(*points, most)),
                **({"trend": _to_json(*running_mean(*points))} if series.trend and len(points[0]) > LONG else {}),
            }
            for index, series, points in drawn
        ],
    }
    title = escape(printable(chart.title))
    return (
        f'<figure class="chart"><figcaption>{title}</figcaption><div class="chart-plot"></div>'
        f'<div class="chart-legend"></div><details open><summary>Numbers</summary>{_table(drawn)}</details>'
        f'<script type="application/json">{_to_script(data)}</script></figure>\n'
    )


def render_library() -> str:
    """Return the styles and scripts that draw every chart of a page."""
    style, script = ("\n".join((_HERE / name).read_text(encoding="utf-8") for name in n) for n in (_STYLES, _SCRIPTS))
    return f"<style>\n{style}</style><script>\n{script}</script>\n"


def _points(series: Series, log: bool) -> tuple[Floats, Floats]:
    x, y = np.asarray(series.x, dtype=float), np.asarray(series.y, dtype=float)
    kept = np.isfinite(x) & np.isfinite(y)
    if log:
        kept &= y > 0
    return x[kept], y[kept]


def _to_json(x: Floats, y: Floats) -> dict[str, list[float]]:
    return {"x": _round(x), "y": _round(y)}


def _round(values: Floats) -> list[float]:
    """Keep six digits, and no `.0`, which halves the size of the page."""
    rounded = (float(f"{value:.6g}") if abs(value) < 1e6 else round(float(value)) for value in values)
    return [int(value) if value == int(value) else value for value in rounded]


def _to_script(data: dict[str, Any]) -> str:
    """Write JSON that is safe inside a `<script>`, whatever its strings contain."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _table(drawn: Sequence[tuple[int, Series, tuple[Floats, Floats]]]) -> str:
    rows = [
        [printable(series.name), *(f"{value:,.6g}" for value in (y[0], y.min(), y.max(), y[-1]))]
        for _, series, (_, y) in drawn
    ]
    lines = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
    header = "".join(f"<th>{name}</th>" for name in ("", "first", "lowest", "highest", "last"))
    return f"<table><thead><tr>{header}</tr></thead><tbody><tr>{'</tr><tr>'.join(lines)}</tr></tbody></table>"
