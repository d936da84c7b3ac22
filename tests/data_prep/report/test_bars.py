"""Charts of the report, and the numbers next to bars."""

import re

import pytest
from tests.data_prep.report.counted_run import cells

from nemotron.data_prep.output.distributions import Distribution
from nemotron.data_prep.report.bars import Segment, _round_up, _short, histogram, legend, pair, stacked_bar


@pytest.mark.parametrize(
    ("number", "written"),
    [
        (0, "0"), (950, "950"), (1536, "1,536"), (9_999, "9,999"), (10_000, "10k"), (12_540, "12.5k"), (1e6, "1M"),
        (3_210_000, "3.21M"), (1e9, "1G"), (2.5e12, "2.5e+03G"),
    ],
)  # fmt: skip
def test_a_number_takes_little_room(number: float, written: str) -> None:
    assert _short(number) == written


@pytest.mark.parametrize(
    ("most", "top"),
    [
        (1, 2), (2, 2), (3, 4), (9, 10), (10, 10), (11, 12), (12, 12), (13, 16), (17, 20), (21, 30), (31, 40), (41, 50),
        (51, 60), (61, 80), (81, 100), (100, 100), (101, 120), (999, 1000), (1601, 2000),
    ],
)  # fmt: skip
def test_an_axis_ends_at_a_round_number_with_a_round_half(most: int, top: float) -> None:
    assert _round_up(most) == top


def histogram_of(edges: list[float], counts: list[int], unit: str = "") -> str:
    found = Distribution(edges, counts, {"min": 1, "max": 1900}, 1234.56)
    return histogram("Lengths", found, "tokens", "conversations", unit)


def test_a_bar_is_as_high_as_its_part_of_the_axis() -> None:
    html = histogram_of([0.0, 1000.0, 2000.0, 2001.0], [3, 0, 1])
    # The axis ends at 4, the even number after 3.
    assert re.findall('<div class="bar" data-value="(.*?)"><i style="height:(.*?)%"></i><b>(.*?)</b></div>', html) == [
        ("0 to 999: 3 conversations (75.0%)", "75.00", "0"),
        ("1,000 to 1,999: 0 conversations (0.0%)", "0.00", "1,000"),
        ("2,000: 1 conversations (25.0%)", "25.00", "2,000"),
    ]
    assert re.findall("<span>(.*?)</span>", html) == ["4", "2", "0"]


def test_a_chart_is_also_a_table_and_a_sentence() -> None:
    html = histogram_of([0.0, 5.0, 10.0], [1000, 3000], unit=" %")
    assert cells(html) == [
        ["tokens", "conversations", "share"],
        ["0 to 5 %", "1,000", "25.0%"],
        ["5 to 10 %", "3,000", "75.0%"],
    ]
    assert '<p class="quantiles">min 1 %, max 1,900 %, mean 1,234.6 %</p>' in html
    assert 'aria-label="Lengths: min 1 %, max 1,900 %"' in html
    assert '<p class="axis">tokens; bars: conversations</p>' in html


@pytest.mark.parametrize(
    ("bins", "labelled"), [(1, [0]), (8, list(range(8))), (9, [0, 2, 4, 6, 8]), (16, list(range(0, 16, 2)))]
)
def test_at_most_eight_bins_have_their_edge_below_them(bins: int, labelled: list[int]) -> None:
    html = histogram_of([float(edge) for edge in range(bins + 1)], [1] * bins)
    assert [int(edge) for edge in re.findall("<b>([0-9]+)</b>", html)] == labelled


def test_the_segments_of_a_bar_fill_it_and_empty_ones_are_left_out() -> None:
    bar = stacked_bar("a<b", [Segment("x", "ex", 1500), Segment("y", "why", 0), Segment("z", "zed", 500)], "note")
    assert re.findall('<i class="(.*?)" style="width:(.*?)%" data-value="(.*?)"></i>', bar) == [
        ("x", "75.000", "ex: 1,500 (75.0%)"),
        ("z", "25.000", "zed: 500 (25.0%)"),
    ]
    assert "<p><span>a&lt;b</span><span>note</span></p>" in bar


def test_a_legend_has_a_colour_and_a_text_for_each() -> None:
    keys = legend([("x", "ex"), ("y", "why")])
    assert keys == '<p class="keys"><span><i class="x"></i>ex</span><span><i class="y"></i>why</span></p>'


def test_a_pair_of_bars_is_never_wider_than_its_room() -> None:
    assert re.findall('class="(asked|got)" style="width:(.*?)%"', pair(0.25, 0.75, most=0.5)) == [
        ("asked", "50.00"),
        ("got", "100.00"),
    ]
