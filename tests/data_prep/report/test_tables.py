"""Tables, names and numbers of the report."""

import re

import pytest
from tests.data_prep.report.counted_run import cells, words

from nemotron.data_prep.report.tables import Html, count, name, section, share, table, text, things, unfold


def test_text_is_escaped_and_what_is_html_already_is_not() -> None:
    html = table(("<a>", "b"), [("<i>", Html("<i>x</i>"))])
    assert "<th>&lt;a&gt;</th>" in html
    assert "<td>&lt;i&gt;</td><td><i>x</i></td>" in html


@pytest.mark.parametrize(
    ("given", "most", "shown"),
    [("abcdef", 6, "abcdef"), ("abcdefg", 6, "abc\u2026efg"), (12345, 4, "12\u202645"), ("a&b", 3, "a&amp;b")],
)
def test_a_long_text_is_shortened_in_the_middle(given: object, most: int, shown: str) -> None:
    assert text(given, most) == shown


def test_a_name_has_at_most_80_characters_and_a_text_1000() -> None:
    assert (name("n" * 80), name("n" * 81)) == ("n" * 80, f"{'n' * 40}\u2026{'n' * 40}")
    assert (text("n" * 1000), text("n" * 1001)) == ("n" * 1000, f"{'n' * 500}\u2026{'n' * 500}")


def test_columns_of_text_are_marked_in_the_head_and_in_every_row() -> None:
    html = table(("a", "b", "c"), [("1", "2", "3"), ("4", "5", "6")], text_columns=[1])
    assert re.findall("<t[hd]( class=\"text\")?>(.)", html) == [
        ("", "a"), (' class="text"', "b"), ("", "c"), ("", "1"), (' class="text"', "2"), ("", "3"),
        ("", "4"), (' class="text"', "5"), ("", "6"),
    ]  # fmt: skip


@pytest.mark.parametrize(("rows", "shown", "rest"), [(30, 30, ""), (31, 30, "and 1 more lines"), (1530, 30, "1,500")])
def test_a_table_shows_30_rows_and_counts_the_others(rows: int, shown: int, rest: str) -> None:
    html = table(("n",), [(str(number),) for number in range(rows)], more="lines")
    assert cells(html)[1:] == [[str(number)] for number in range(shown)]
    after = html.partition("</table>")[2]
    assert rest in words(after)
    assert bool(after) is bool(rest)


def test_without_content_there_is_no_table_and_no_section() -> None:
    assert table(("n",), []) == ""
    assert section("a", "A", "", "") == ""
    assert section("a", "A", "x", "y") == '<section id="a"><h2>A</h2>xy</section>'


def test_what_unfolds_is_closed_unless_it_is_said() -> None:
    assert unfold("more", "a", "b") == "<details><summary>more</summary>ab</details>"
    assert unfold("more", is_open=True) == "<details open><summary>more</summary></details>"


def test_numbers_have_commas_and_a_share_of_nothing_is_a_dash() -> None:
    assert (count(1234567), count(1234.6)) == ("1,234,567", "1,235")
    assert (share(1, 8), share(0, 8), share(0, 0)) == ("12.5%", "0.0%", "-")
    assert (things(0, "row"), things(1, "row"), things(1200, "row")) == ("0 rows", "1 row", "1,200 rows")
