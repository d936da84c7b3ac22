"""Datasets, shares, splits, roles, modes and checks, as tables of numbers that can be worked out by hand."""

import re

import pytest
from tests.data_prep.report.counted_run import cells, dataset, metadata, split, words

from nemotron.data_prep.output.counting_roles import RoleStats
from nemotron.data_prep.output.metadata import CheckStats, ModeStats
from nemotron.data_prep.packing.shards import ShardReceipt
from nemotron.data_prep.report import mix


def text_columns(html: str) -> list[int]:
    """Which columns are set as text, not as numbers."""
    return [at for at, kind in enumerate(re.findall("<th([ >])", html)) if kind == " "]


def test_a_dataset_is_a_row_of_counts() -> None:
    html = mix.render_datasets(metadata(dataset(), dataset("none", fill=None, tokens=0, supervised_tokens=0)))
    _, chat, none = cells(html)
    assert chat == ["chat", "100", "90", "10", "5", "2", "97", "1,000", "300", "30.0%", "87.5%"]
    assert none[-3:] == ["0", "-", "-"]
    assert text_columns(html) == []


def test_a_share_that_was_asked_for_stands_next_to_what_came_of_it() -> None:
    shares = metadata(
        dataset("a", asked=0.25, got=0.2, tokens=600, share_of_supervised=0.4),
        dataset("b", tokens=400, share_of_supervised=0.6),
    )
    html = mix.render_blend(shares)
    assert cells(html)[1:] == [
        ["a", "25.00%", "20.00%", "", "95", "60.0%", "40.0%"],
        ["b", "-", "-", "", "95", "40.0%", "60.0%"],
    ]
    # The larger of both fills the width.
    bars = re.findall('<i class="(asked|got)" style="width:([0-9.]+)%">', html)
    assert bars == [("asked", "100.00"), ("got", "80.00"), ("asked", "0.00"), ("got", "0.00")]
    assert '<i class="asked"></i>asked' in html
    assert '<i class="got"></i>got' in html


@pytest.mark.parametrize(("asked", "got", "widths"), [(0.1, 0.4, ["25.00", "100.00"]), (None, 0.4, ["0.00", "100.00"])])
def test_more_than_was_asked_for_fills_the_width(asked: float | None, got: float, widths: list[str]) -> None:
    html = mix.render_blend(metadata(dataset(asked=asked, got=got)))
    assert re.findall("width:([0-9.]+)%", html) == widths


def test_a_split_is_a_row_of_counts() -> None:
    shards = [ShardReceipt(f"shard_{number:06}.parquet", 5, 48, 522, 9000, "x") for number in range(2)]
    _, row = cells(mix.render_splits(metadata(splits=[split(shards=shards)])))
    assert row == ["train", "95", "97", "11", "1,000", "300", "30.0%", "45", "95.0%", "2"]


def test_tokens_are_listed_by_role_over_all_datasets_and_for_each() -> None:
    other = dataset("more", tokens=200, supervised_tokens=0, roles={"tool_results": RoleStats(200, 0)})
    html = mix.render_roles(metadata(dataset(), other))
    together, details = html.split("<details>")
    assert [row[:-1] for row in cells(together)[1:]] == [
        ["user", "600", "50.0%", "0", "0.0%"],
        ["tool results", "200", "16.7%", "0", "0.0%"],
        ["answer", "400", "33.3%", "300", "75.0%"],
    ]
    assert cells(details)[1:] == [
        ["chat", "user", "600", "0", "0.0%"],
        ["chat", "answer", "400", "300", "75.0%"],
        ["more", "tool results", "200", "0", "0.0%"],
    ]
    assert (text_columns(together), text_columns(details)) == ([5], [1])
    # Roles without a token are not in the legend.
    legend = re.findall('<i class="role-([a-z_]+)"></i>([a-z ]+)', html)
    assert legend == [("user", "user"), ("tool_results", "tool results"), ("answer", "answer")]


def bars(html: str) -> list[list[str]]:
    """The label and the note of each bar."""
    return [re.findall("<span>(.*?)</span>", bar) for bar in re.findall('<div class="stack">(.*?)</p>', html)]


def test_a_bar_of_roles_is_drawn_for_all_datasets_and_for_each_that_has_tokens() -> None:
    empty = dataset("none", tokens=0, supervised_tokens=0, roles={})
    other = dataset("more", tokens=600, supervised_tokens=100, roles={"tool_results": RoleStats(600, 100)})
    html = mix.render_roles(metadata(dataset(), empty, other))
    assert bars(html) == [
        ["all datasets", "1,600 tokens, 25.0% supervised"],
        ["chat", "1,000 tokens, 30.0% supervised"],
        ["more", "600 tokens, 16.7% supervised"],
    ]
    first = re.findall('class="(role-[a-z_]+)" style="width:([0-9.]+)%" data-value="([^"]+)"', html)[:3]
    assert first == [
        ("role-user", "37.500", "user: 600 (37.5%)"),
        ("role-tool_results", "37.500", "tool results: 600 (37.5%)"),
        ("role-answer", "25.000", "answer: 400 (25.0%)"),
    ]


def test_a_single_dataset_needs_no_bar_of_its_own() -> None:
    assert [label for label, _ in bars(mix.render_roles(metadata()))] == ["all datasets"]


@pytest.mark.parametrize(("datasets", "drawn", "left"), [(20, 21, None), (21, 21, "and 1 more dataset"), (22, 21, "2")])
def test_only_the_first_bars_are_drawn_and_the_others_counted(datasets: int, drawn: int, left: str | None) -> None:
    html = mix.render_roles(metadata(*[dataset(f"d{number}") for number in range(datasets)]))
    assert len(bars(html)) == drawn
    said = re.findall("and [0-9]+ more datasets: metadata.json has all, under roles", html)
    assert said == ([f"and {datasets - 20} more datasets: metadata.json has all, under roles"] if left else [])


def test_a_mode_without_a_wish_has_dashes() -> None:
    modes = [ModeStats("off", 30, 31, 1200, 0.25, 0.3), ModeStats("no_reasoning", 60, 66, 0, None, None)]
    html = mix.render_modes(metadata(dataset(modes=modes)))
    assert cells(html)[1:] == [
        ["chat", "off", "30", "31", "1,200", "25.00%", "30.00%"],
        ["chat", "no_reasoning", "60", "66", "0", "-", "-"],
    ]
    assert text_columns(html) == [1]


def test_what_checks_find_is_listed_for_each_dataset() -> None:
    html = mix.render_checks(metadata(dataset(checks=[CheckStats("language", "German", 1200, 0.125)])))
    assert cells(html)[1:] == [["chat", "language", "German", "1,200", "12.5%"]]
    assert text_columns(html) == [1, 2]
    assert mix.render_checks(metadata()) == ""


@pytest.mark.parametrize(
    ("render", "rest"),
    [
        (mix.render_datasets, "datasets"), (mix.render_blend, "datasets"), (mix.render_roles, "lines"),
        (mix.render_modes, "lines"), (mix.render_checks, "findings"),
    ],
)  # fmt: skip
def test_a_long_table_says_how_many_rows_it_leaves_out(render, rest: str) -> None:
    one = {
        "modes": [ModeStats("off", 1, 1, 1, None, None)],
        "checks": [CheckStats("language", "German", 1, 0.1)],
        "roles": {"user": RoleStats(1000, 0)},
    }
    html = render(metadata(*[dataset(f"d{number}", **one) for number in range(33)]))
    assert f"and 3 more {rest}: metadata.json has all." in words(html)
