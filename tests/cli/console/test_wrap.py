"""Text on a narrow terminal: where lines end, and what a wide character takes."""

import pytest

from nemotron.cli.console.wrap import fold, longest_word, wrap


@pytest.mark.parametrize(
    ("text", "hang", "lines"),
    [
        ("ten chars!", "", ["ten chars!"]),
        ("one two three", "", ["one two", "three"]),
        ("one two three", "  ", ["one two", "  three"]),
        ("  one two three", "", ["  one two", "  three"]),
        ("  one two six ten", "- ", ["  one two", "  - six", "  - ten"]),
        ("a\none two three", "", ["a", "one two", "three"]),
        ("one  two  six", "", ["one  two ", "six"]),
        ("/data/chat/x", "", ["/data/", "chat/x"]),
        ("a key=value,other", "", ["a key=", "value,", "other"]),
        ("unbreakable", "", ["unbreakable"]),
        ("an unbreakable word", "", ["an", "unbreakable", "word"]),
        ("東京東京 x", "", ["東京東京 x"]),  # two columns each
        ("東京東京東 x", "", ["東京東京東", "x"]),
    ],
)
def test_lines_of_10_columns_end_between_words_or_after_a_slash(text: str, hang: str, lines: list[str]):
    assert wrap(text, 10, hang) == lines


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        ("", [""]),
        ("0123456789", ["0123456789"]),
        ("0123456789a", ["0123456789", "a"]),
        ("0123456 89a", ["0123456 ", "89a"]),
        ("01234 6789a", ["01234 ", "6789a"]),
        ("0123 56789a", ["0123 56789", "a"]),  # no space is near
        ("東京東京東京", ["東京東京東", "京"]),
    ],
)
def test_text_out_of_data_keeps_every_character(line: str, lines: list[str]):
    assert fold(line, 10) == lines
    assert "".join(fold(line, 10)) == line


@pytest.mark.parametrize(("text", "columns"), [("", 0), ("a bcd ef", 3), ("東京 abc", 4)])
def test_the_longest_word_is_that_of_the_most_columns(text: str, columns: int):
    assert longest_word(text) == columns
