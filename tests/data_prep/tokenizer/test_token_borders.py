"""Where a text is cut to a number of tokens, with a tokenizer that has one for each character."""

from pathlib import Path
from typing import Literal

import pytest

from nemotron.data_prep.tokenizer.token_borders import DefinedBorders

LINES = "one two three four\nfive six seven"


@pytest.mark.parametrize(
    ("text", "tail", "most", "cut"),
    [
        ("abcdef", "", 6, None),
        ("abcdef", "", 5, "abcde"),
        ("abcdef", "!!", 8, None),
        ("abcdef", "!!", 7, "abcde"),  # it fits, but not with what follows
        ("abcdef", "!!", 2, ""),
        ("abcdef", "!!", 1, ""),
        ("", "", 0, None),
    ],
)
def test_what_is_left_fits_with_what_follows(
    byte_tokenizer: Path, text: str, tail: str, most: int, cut: str | None
) -> None:
    borders = DefinedBorders((byte_tokenizer / "tokenizer.json").read_bytes())
    assert borders.cut(text, tail, most) == cut


@pytest.mark.parametrize(
    ("at", "most", "cut"),
    [
        ("token", 20, LINES[:20]),
        ("newline", 20, "one two three four"),
        ("newline", 21, LINES[:21]),  # its newline is before the last tenth
        ("newline", 18, "one two three four"),
    ],
)
def test_it_may_end_at_a_newline_nearby(
    byte_tokenizer: Path, at: Literal["token", "newline"], most: int, cut: str
) -> None:
    borders = DefinedBorders((byte_tokenizer / "tokenizer.json").read_bytes(), at)
    assert borders.cut(LINES, "", most) == cut
