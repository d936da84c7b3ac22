from hypothesis import given
from hypothesis import strategies as st

from nemotron.cli import console
from nemotron.cli.console.table_fit import BELOW, GAP, _widths, fit_columns
from nemotron.cli.console.wrap import wrap


def test_a_table_aligns_text_left_and_numbers_right(capsys):
    console.table([("a", "1"), ("long name", "1,000")], header=("name", "rows"), right=[1])
    assert capsys.readouterr().out == "  name        rows\n  a              1\n  long name  1,000\n"


def test_an_empty_table_is_nothing(capsys):
    console.table([])
    assert capsys.readouterr().out == ""


def test_on_a_terminal_text_wraps_in_its_column_and_numbers_do_not(terminal, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    rows = [("bad_role", "1,234", "a role that is missing or is unknown"), ("no_messages", "5", "none")]
    console.table(rows, header=("dropped", "rows", "because"), right=[1])
    assert [line.rstrip() for line in terminal.readouterr().out.splitlines()[2:]] == [
        "  bad_role     1,234  a role that is",
        "                      missing or is",
        "                      unknown",
        "  no_messages      5  none",
    ]


def test_a_word_wider_than_its_column_stands_below_with_the_columns_name(terminal, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    rows = [("output_dir", "output/a/rather/deep/folder", "default"), ("seed", "42", "tiny.yaml")]
    console.table(rows, header=("key", "value", "from"))
    lines = [line.rstrip() for line in terminal.readouterr().out.splitlines()[2:]]
    assert lines == [
        "  output_dir         default",
        "      value: output/a/rather/deep/folder",
        "  seed        42     tiny.yaml",
    ]


def test_more_numbers_than_fit_become_labelled_entries(terminal, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    header = ("dataset", *(f"number{n}" for n in range(6)))
    console.table([("chat", *["1,000,000"] * 6)], header=header, right=range(1, 7))
    lines = terminal.readouterr().out.splitlines()
    assert lines[0] == "  chat"
    assert lines[1].strip() == "number0 1,000,000 ·"
    assert all(len(line) <= 40 and "number" in line for line in lines[1:])


TEXT = st.lists(st.text("abc", min_size=1, max_size=12), min_size=1, max_size=6).map(" ".join)


@given(st.lists(st.tuples(TEXT, TEXT, TEXT), min_size=1, max_size=5), st.integers(40, 120))
def test_columns_always_fit(rows, width):
    columns = [["name", *column] for column in zip(*rows, strict=True)]
    widths = fit_columns(columns, [], width)
    assert widths is not None
    assert sum(each + GAP for each in widths if each != BELOW) - GAP <= width
    assert widths[0] >= max(len(word) for cell in columns[0] for word in cell.split())


@given(TEXT, st.integers(20, 60))
def test_wrapping_keeps_every_word_whole(text, width):
    lines = wrap(text, width)
    assert " ".join(lines) == text
    assert all(len(line) <= width for line in lines)


def test_a_text_of_40_columns_may_take_30_or_20_or_14_or_those_of_its_words():
    """The first column, which names the rows, is never printed below them, and no word of it is cut."""
    column = ["text", "ab " * 12 + "abcd"]
    assert _widths(column, is_first=False) == [40, 30, 20, 14, 4, BELOW]
    assert _widths([*column, "x" * 16], is_first=True) == [40, 30, 20, 16]
