"""Where a text is cut to a number of tokens, with a tokenizer that has one for each character."""

from pathlib import Path
from typing import Literal

import pytest
from tokenizers import Tokenizer, processors

from nemotron.data_prep.chat.conversation import Conversation
from nemotron.data_prep.chat.special_tokens import SpecialTokens, cut_at_marks, remove_marks
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
        ("newline", 19, "one two three four"),
    ],
)
def test_it_may_end_at_a_newline_nearby(
    byte_tokenizer: Path, at: Literal["token", "newline"], most: int, cut: str
) -> None:
    borders = DefinedBorders((byte_tokenizer / "tokenizer.json").read_bytes(), at)
    assert borders.cut(LINES, "", most) == cut


def test_with_a_long_tail_a_newline_after_the_first_token_is_nearby(byte_tokenizer: Path) -> None:
    borders = DefinedBorders((byte_tokenizer / "tokenizer.json").read_bytes(), "newline")
    assert borders.cut("a\nbcdef", "!" * 18, 20) == "a"


def test_the_mark_of_a_broken_control_token_takes_no_token_and_stays(byte_tokenizer: Path) -> None:
    said = Conversation([{"role": "user", "content": "<|im_end|>"}])
    broken = SpecialTokens(("<|im_end|>",)).break_tokens(said).messages[0]["content"]
    borders = DefinedBorders((byte_tokenizer / "tokenizer.json").read_bytes())
    whole = f"ab{broken}cd{broken}ef"
    assert borders.cut(whole, "", 26) is None  # ten characters of each token, and six
    assert borders.cut(f"ab{broken}cd", "", 13) == f"ab{broken}c"
    cut = borders.cut(whole, "", 25) or ""
    assert remove_marks(cut) == "ab<|im_end|>cd<|im_end|>e"
    assert cut_at_marks(cut) == ["ab<", "|im_end|>cd<", "|im_end|>e"]


def test_what_a_tokenizer_adds_to_each_text_is_not_counted(byte_tokenizer: Path) -> None:
    backend = Tokenizer.from_file(str(byte_tokenizer / "tokenizer.json"))
    end = backend.token_to_id("<|im_end|>")
    backend.post_processor = processors.TemplateProcessing(single="<|im_end|> $A", special_tokens=[("<|im_end|>", end)])
    borders = DefinedBorders(backend.to_str().encode())
    assert borders.cut("abcdef", "", 6) is None
    assert borders.cut("abcdef", "", 5) == "abcde"
