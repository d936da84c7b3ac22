"""The figures at the top of the report, and what is worth a look."""

import re
from typing import Any

import pytest
from tests.data_prep.report.counted_run import LENGTHS, dataset, metadata, split, words

from nemotron.data_prep.output.distributions import Distribution
from nemotron.data_prep.output.examples import Examples
from nemotron.data_prep.output.metadata import CheckStats, Metadata, ModeStats, NoteStats, OverlongStats
from nemotron.data_prep.report.lengths import render_lengths, render_packs
from nemotron.data_prep.report.overview import _count_lost, render_overview
from nemotron.data_prep.report.page import render_report

FINE = {"rows": 1000, "kept": 990}


def remarks(found: Metadata) -> list[str]:
    return [words(remark) for remark in re.findall("<li>(.*?)</li>", render_overview(found))]


def of(**changed: Any) -> list[str]:
    """What is said of a dataset that is fine but for what is changed."""
    return remarks(metadata(dataset(**FINE | {"dropped": {"bad_role": 10}} | changed)))


def test_the_figures_are_those_of_all_datasets_and_splits() -> None:
    both = metadata(dataset(), dataset("b", kept=50, repeated=0), splits=[split(), split("valid", packs=9)])
    figures = re.findall("<dt>(.*?)</dt><dd>(.*?)</dd>", render_overview(both))
    assert {title: words(value) for title, value in figures} == {
        "conversations": "145",  # 90 + 5 + 50
        "sequences": "194",
        "packs": "20",
        "tokens": "2,000",
        "supervised tokens": "600 30.0%",
        "fill of packs": "104.5%",  # (2,000 + 90) / (20 * 100)
        "rows read": "200",
        "rows dropped": "60 30.0%",
    }


def test_the_settings_of_the_run_are_named() -> None:
    said = words(render_overview(metadata(pack_size=4096)))
    assert (
        "Packs of 4,096 tokens (first_fit), tokenizer letters, chat template nemotron3, blend blend.yaml, run 0123abcd."
        in said
    )


def test_supervised_tokens_that_did_not_fit_are_worth_a_look() -> None:
    lost = metadata(dataset(**FINE, dropped={}), overlong=OverlongStats("drop", 4096, 1200, 1300, 0.015, 8192))
    assert remarks(lost) == [
        "1.5% of the supervised tokens did not fit into 4,096 tokens: 1,200 conversations cut, 1,300 dropped. Lengths"
    ]
    assert of() == []


def test_a_reason_that_costs_over_a_hundredth_of_the_rows_is_named_with_its_share() -> None:
    assert of(dropped={"bad_role": 11, "media": 10, "bad_json": 12}) == [
        "12 rows (1.2%) dropped as bad_json. Dropped", "11 rows (1.1%) dropped as bad_role. Dropped",
    ]  # fmt: skip
    # Of all datasets together.
    alike = [dataset(name, **FINE, dropped={"bad_role": 11}) for name in ("a", "b")]
    assert remarks(metadata(*alike)) == ["22 rows (1.1%) dropped as bad_role. Dropped"]


@pytest.mark.parametrize("reason", ["not_sampled", "blend_weight", "filtered"])
def test_rows_that_the_settings_leave_out_are_not_at_fault(reason: str) -> None:
    assert of(dropped={reason: 500}) == []


def test_more_reasons_than_five_are_counted() -> None:
    five = dict.fromkeys(["bad_json", "bad_role", "media", "bad_tools", "ambiguous"], 20)
    assert len(of(dropped=five)) == 5
    assert of(dropped=five | {"bad_message": 11})[5:] == ["1 more reason cost more than 1% of the rows each. Dropped"]


def test_a_dataset_of_which_nothing_is_left_is_named() -> None:
    assert of(kept=0) == ["Nothing is left of chat. Datasets"]
    assert of(kept=1) == of(rows=0, kept=0, dropped={}) == []


@pytest.mark.parametrize(
    ("names", "said"),
    [("abc", "a, b, c"), ("abcd", "a, b, c and 1 more datasets"), ("abcdef", "a, b, c and 3 more datasets")],
)
def test_three_datasets_are_named_and_further_ones_counted(names: str, said: str) -> None:
    empty = [dataset(name, **FINE | {"kept": 0, "dropped": {}}) for name in names]
    assert remarks(metadata(*empty)) == [f"Nothing is left of {said}. Datasets"]


def test_a_dataset_that_trains_on_little_is_named() -> None:
    assert of(tokens=1000, supervised_tokens=20) == []
    assert of(tokens=1000, supervised_tokens=19) == ["Less than 2% of the tokens of chat are supervised. Datasets"]


@pytest.mark.parametrize(
    ("asked", "got", "off"),
    [
        (None, 0.5, False),
        (0.5, 0.505, False),
        (0.5, 0.52, True),
        (0.5, 0.48, True),
        (0.5, None, True),
        (0.005, None, False),
    ],
)
def test_a_share_that_is_off_by_over_a_hundredth_is_named(asked: float | None, got: float | None, off: bool) -> None:
    said = ["The shares of chat are not those that the blend asks for. Blend"] if off else []
    assert of(asked=asked, got=got) == said


def test_duplicates_are_named_unless_they_are_dropped() -> None:
    assert of(duplicates=1) == ["1 conversation repeat an earlier one word for word. Duplicates"]
    assert of(duplicates=5, dropped={"duplicate": 5}) == []


def test_a_split_of_many_packs_that_are_not_full_is_named() -> None:
    def with_split(**changed: Any) -> list[str]:
        return remarks(metadata(dataset(**FINE, dropped={}), splits=[split(**changed)]))

    assert with_split(fill=0.899, packs=20) == ["The packs of train are only 89.9% full. Packs"]
    assert with_split(fill=0.9, packs=20) == with_split(fill=0.1, packs=19) == []


def test_empty_answers_are_counted_over_datasets() -> None:
    notes = [NoteStats("empty_answer", "", 1000, []), NoteStats("joined_turn", "", 7, [])]
    both = metadata(*[dataset(name, **FINE, dropped={}, notes=notes) for name in ("a", "b")])
    assert remarks(both) == ["In 2,000 rows an answer is empty. Noticed"]


def test_a_remark_links_to_its_section() -> None:
    html = render_overview(metadata(dataset(**FINE | {"kept": 0, "dropped": {}})))
    assert '<a href="#datasets">Datasets</a>' in html


def charts(html: str) -> list[str]:
    return re.findall("<figcaption>(.*?)</figcaption>", html)


def test_lengths_of_sequences_are_drawn_where_they_differ_from_those_of_conversations() -> None:
    same = metadata()
    assert charts(render_lengths(same)) == ["All tokens of a conversation", "Supervised tokens of a conversation"]
    split_up = Distribution(LENGTHS.edges, [5, 1], LENGTHS.quantiles, 6.0)
    drawn = render_lengths(metadata(distributions=same.distributions | {"sequence_tokens": split_up}))
    assert charts(drawn)[2:] == ["Tokens of a sequence"]
    assert "bars: sequences" in drawn


def test_each_chart_is_of_its_own_distribution() -> None:
    names = list(metadata().distributions)
    apart = {name: Distribution([0.0, 10.0], [1], {"max": number}, 0.0) for number, name in enumerate(names, start=1)}
    found = metadata(distributions=apart | {"sequence_tokens": Distribution([0.0, 9.0], [7], {"max": 3}, 0.0)})
    drawn = render_lengths(found) + render_packs(found)
    assert re.findall('<p class="quantiles">max (.*?),', drawn) == ["1", "2", "3", "4 %", "5"]
    assert "bars: conversations" in drawn
    assert "tokens in percent of 100" in drawn


def test_what_the_limit_costs_stands_above_the_charts() -> None:
    found = metadata(overlong=OverlongStats("truncate", 4096, 1200, 1300, 0.01234, 8192))
    said = words(render_lengths(found))
    assert "at most 4,096 tokens (overlong: truncate): 1,200 conversations are cut, 1,300 dropped, and 1.23% of" in said
    assert "A pack size of 8,192 would" in said


def test_a_page_has_its_sections_in_order_and_links_to_those_it_has() -> None:
    page = render_report(metadata(config_name="a\x1b" + "b" * 100), Examples([], []))
    always = [
        "datasets", "blend", "roles", "splits", "lengths", "packs", "dropped", "noticed", "ignored", "duplicates",
    ]  # fmt: skip
    assert re.findall('<section id="(.*?)"', page) == ["look", *always]
    links = page.partition("<nav>")[2].partition("</nav>")[0]
    assert re.findall('href="#(.*?)">(.*?)<', links) == [
        (anchor, {"dropped": "dropped rows", "ignored": "ignored fields"}.get(anchor, anchor)) for anchor in always
    ]
    assert f"<title>Prepared data a\\u001b{'b' * 73}</title>" in page


def test_modes_checks_and_examples_are_linked_to_where_there_are_some() -> None:
    one = dataset(modes=[ModeStats("off", 1, 1, 1, None, None)], checks=[CheckStats("language", "German", 1, 0.1)])
    shown = {"kind": "longest", "dataset": "a", "file": "a", "line": 1, "tokens": 1, "uncut": 1, "supervised_tokens": 1}
    page = render_report(metadata(one), Examples([{**shown, "chunks": []}], []))
    links = re.findall('href="#(.*?)">(.*?)<', page.partition("<nav>")[2].partition("</nav>")[0])
    assert links[-3:] == [
        ("modes", "reasoning modes"), ("checks", "checks"), ("sequences", "longest and shortest"),
    ]  # fmt: skip


def test_the_reasons_are_counted_over_all_datasets_the_most_frequent_first() -> None:
    counted = metadata(
        dataset("a", dropped={"bad_role": 3, "no_messages": 4, "filtered": 90}),
        dataset("b", dropped={"bad_role": 2, "bad_json": 1}),
    )
    assert [*_count_lost(counted).items()] == [("bad_role", 5), ("no_messages", 4), ("bad_json", 1)]
