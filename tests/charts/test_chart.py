"""A chart in a page: what it says without JavaScript, the data for chart.js, and what a reader sees in a browser."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.browser import Browser

from nemotron.charts import Chart, Marker, Series, render_chart, render_library
from nemotron.charts.chart import POINTS
from nemotron.charts.subsample import subsample
from nemotron.html_page import html_page

HOSTILE = "</script><img src=x onerror=\"console.error('ran')\">\x1b[31m\u202e&amp;" + "W" * 200


def data_of(html: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json">(.*?)</script>', html)
    assert found
    return json.loads(found[1])


def test_a_chart_has_its_points_and_a_table_of_its_main_numbers() -> None:
    html = render_chart(Chart("Loss", "iteration", "nats", [Series("train", [1, 2, 3], [6.0, 4.5, 5.25])]))
    assert data_of(html)["series"] == [
        {"name": "train", "kind": "line", "color": 0, "x": [1, 2, 3], "y": [6, 4.5, 5.25]}
    ]
    assert "<td>train</td><td>6</td><td>4.5</td><td>6</td><td>5.25</td>" in html  # first, lowest, highest, last


def test_points_without_a_value_are_left_out() -> None:
    series = Series("train", [1, 2, 3, 4], [1.0, None, float("nan"), 0.0])
    assert data_of(render_chart(Chart("Loss", "iteration", "nats", [series])))["series"][0]["x"] == [1, 4]
    assert data_of(render_chart(Chart("Loss", "iteration", "nats", [series], log=True)))["series"][0]["x"] == [1]
    assert render_chart(Chart("Loss", "iteration", "nats", [Series("train", [1], [None])])) == ""


def test_a_long_curve_keeps_its_first_last_lowest_and_highest_point() -> None:
    x = np.arange(1_000_000.0)
    y = np.sin(x / 100)  # many waves in what becomes two points: its ends are neither the highest nor the lowest there
    y[123_456], y[654_321] = 40, -40
    fewer_x, fewer_y = subsample(x, y, 1000)
    assert len(fewer_x) <= 1000
    assert (fewer_x[0], fewer_x[-1]) == (0, 999_999)
    assert dict(zip(fewer_x, fewer_y, strict=True)).items() >= {123_456: 40, 654_321: -40}.items()


def test_a_trend_is_the_running_mean_of_a_long_line() -> None:
    x = np.arange(10_000.0)
    noise = np.where(x % 2 == 0, 1.0, -1.0)
    [line] = data_of(render_chart(Chart("Loss", "iteration", "nats", [Series("a", x, x + noise, trend=True)])))[
        "series"
    ]
    inside = [(at, mean) for at, mean in zip(line["trend"]["x"], line["trend"]["y"], strict=True) if 100 < at < 9_900]
    assert len(inside) > 100
    assert all(abs(mean - at) < 0.1 for at, mean in inside)
    [short] = data_of(render_chart(Chart("Loss", "iteration", "nats", [Series("a", x[:9], x[:9], trend=True)])))[
        "series"
    ]
    assert "trend" not in short


def test_all_series_of_a_chart_share_its_points() -> None:
    x = list(range(50_000))
    html = render_chart(Chart("Loss", "iteration", "nats", [Series(str(run), x, x) for run in range(5)]))
    assert sum(len(series["x"]) for series in data_of(html)["series"]) <= POINTS


def test_names_cannot_end_the_script_they_stand_in() -> None:
    html = render_chart(Chart(HOSTILE, "iteration", "nats", [Series(HOSTILE, [1], [2])], [Marker(1, HOSTILE)]))
    assert html.count("</script>") == 1
    assert "<img" not in html
    assert data_of(html)["series"][0]["name"].startswith("</script>")


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1280])
def test_a_reader_sees_the_value_under_the_mouse(browser: Browser, tmp_path: Path, width: int, dark: bool) -> None:
    loss = Series("train", [1, 2, 3, 4, 5], [6, 5, 4, 3, 2])
    charts = [
        Chart("Loss", "iteration", "nats", [loss, Series(HOSTILE, [1, 5], [7, 6])], [Marker(3, "sample stage")]),
        Chart("Rate", "iteration", "lr", [Series("lr", [1, 2, 3], [1e-6, 2e-6, 0])], log=True),
        Chart("One point", "iteration", "nats", [Series("test", [5], [2.5], kind="dots")]),
    ]
    page = tmp_path / "page.html"
    page.write_text(html_page("Charts", "".join(map(render_chart, charts)) + render_library()))
    browser.open(page, width, dark=dark)
    assert browser.run("document.querySelectorAll('canvas').length") == len(charts)
    assert browser.overflow() == []

    browser.hover(".u-over")
    legend = browser.run("document.querySelector('.chart-legend').innerText")
    assert "iteration 3" in legend
    assert "sample stage" in legend
    assert re.search(r"train\s*4\b", legend)

    browser.run("document.querySelector('.chart-legend button').click()")
    assert browser.run("document.querySelector('.chart-legend button').ariaPressed") == "false"
    assert browser.errors == []
