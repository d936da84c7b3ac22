"""report.html and the charts in it."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemotron.training.reporting.html_report import render_report
from nemotron.training.reporting.svg_chart import HEIGHT, MOST_POINTS, WIDTH, Line, Mark, line_chart, ticks


def record(iteration, stage="token", loss=5.0):
    return {
        "iteration": iteration, "loss_stage": stage, "lm_loss": loss, "token_loss": loss, "sample_loss": loss + 1,
        "mtp_1_loss": loss + 2, "mtp_1_acceptance": 0.25, "lr": 1e-5, "grad_norm": 1.0, "seconds": 0.5,
    }  # fmt: skip


METRICS = [record(1, loss=7.5), record(2), record(3, "sample", 4.25)]


def svgs(html):
    return [ElementTree.fromstring(svg.replace("&#", "&amp;#")) for svg in re.findall(r"<svg.*?</svg>", html)]


def test_the_report_shows_first_and_last_of_every_split():
    html = render_report("tiny", METRICS, [record(2, loss=6.0), record(3, loss=5.5)], [record(3, loss=5.75)])
    text = re.sub(r"<[^>]+>", " ", html)
    assert re.search(r"training batch\s+7\.5000 &rarr; 4\.2500\s+8\.5000 &rarr; 5\.2500", text)
    assert re.search(r"valid split\s+6\.0000 &rarr; 5\.5000", text)
    assert re.search(r"test split\s+5\.7500\s+6\.7500", text)


def test_every_chart_is_well_formed_and_marks_where_the_stages_begin():
    charts = svgs(render_report("tiny", METRICS, []))
    assert [chart.attrib["aria-label"] for chart in charts] == [
        "Loss",
        "Multi-token prediction: loss",
        "Multi-token prediction: acceptance",
        "Learning rate",
        "Gradient norm",
        "Seconds per iteration",
    ]
    for chart in charts:
        labels = [text.text for text in chart.iter("text")]
        assert {"token stage", "sample stage"} <= set(labels)


def test_nothing_is_loaded_from_elsewhere():
    links = []

    class Links(HTMLParser):
        def handle_starttag(self, tag, attrs):
            links.extend(value for name, value in attrs if name in ("src", "href"))
            assert tag not in ("script", "link", "img")

    Links().feed(render_report("tiny", METRICS, []))
    assert not links


def test_a_run_without_mtp_or_records_has_no_empty_charts():
    without = [{key: value for key, value in row.items() if not key.startswith("mtp")} for row in METRICS]
    assert not any("Multi-token" in chart.attrib["aria-label"] for chart in svgs(render_report("x", without, [])))
    assert not svgs(render_report("x", [], []))


def test_a_title_cannot_break_the_page():
    assert "<b>" not in render_report("<b>", METRICS, [])


@given(values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40))
def test_lines_stay_inside_the_chart(values):
    chart = line_chart("any", [Line("v", list(enumerate(values, 1)), "red")], [Mark(1, "start")])
    [polyline] = svgs(chart)[0].iter("polyline")
    for point in polyline.attrib["points"].split():
        x, y = map(float, point.split(","))
        assert 0 <= x <= WIDTH
        assert 0 <= y <= HEIGHT


def test_a_long_line_is_thinned_but_keeps_its_ends():
    chart = line_chart("long", [Line("v", [(i, i) for i in range(100_000)], "red")])
    [polyline] = svgs(chart)[0].iter("polyline")
    points = polyline.attrib["points"].split()
    assert len(points) <= MOST_POINTS + 1
    assert points[-1].startswith(f"{WIDTH - 15:.1f},")


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(0, 10, [0, 2, 4, 6, 8, 10]), (7.1, 7.6, [7.1, 7.2, 7.3, 7.4, 7.5, 7.6]), (3, 3, [3])]
)
def test_ticks_are_round(low, high, expected):
    assert ticks(low, high) == pytest.approx(expected)
