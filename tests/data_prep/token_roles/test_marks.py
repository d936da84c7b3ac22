"""Which tokens mark messages, and when headers say who speaks."""

from collections.abc import Sequence

import pytest

from nemotron.data_prep.token_roles.marks import HEADED, HEADER, NO_ROLE, Kind, find_marks
from nemotron.data_prep.token_roles.role import CODE


def encoding(headers: dict[str, list[int]], marks: Sequence[int] = (0, 1, 2, 3, 4)):
    """A tokenizer with a token for each mark, and the given ids for the header of each name."""
    ids = {f"{HEADER}{name}\n": found for name, found in headers.items()}
    ids |= {kind: [mark] for kind, mark in zip(Kind, marks, strict=True)}
    return lambda texts: [ids[text] for text in texts]


DISTINCT = {name: [0, 10 + number] for number, name in enumerate(HEADED)}


def test_each_header_gives_the_token_after_it_a_role() -> None:
    marks = find_marks(encoding(DISTINCT), 20, f"x {HEADER}")
    assert marks.has_headers
    assert {token: code for token, code in enumerate(marks.headed.tolist()) if code != NO_ROLE} == {
        10 + number: CODE[role] for number, role in enumerate(HEADED.values())
    }


@pytest.mark.parametrize(
    ("headers", "template"),
    [
        (DISTINCT, "no header"),
        ({**DISTINCT, "tool": [0, 10]}, HEADER),  # two names begin alike
        ({**DISTINCT, "tool": [7, 13]}, HEADER),  # the mark is another token before this name
        ({**DISTINCT, "tool": [0]}, HEADER),  # the name is part of the mark
    ],
)
def test_headers_that_are_not_the_templates_or_not_distinct_say_nothing(headers: dict, template: str) -> None:
    marks = find_marks(encoding(headers), 20, template)
    assert not marks.has_headers
    assert set(marks.headed.tolist()) == {NO_ROLE}


def test_a_mark_of_several_tokens_is_none() -> None:
    def encode(texts: Sequence[str]) -> list[list[int]]:
        return [
            [5, 6] if text == Kind.CALL else found for text, found in zip(texts, encoding(DISTINCT)(texts), strict=True)
        ]

    assert find_marks(encode, 20, HEADER).tokens == {Kind.HEADER: 0, Kind.THINK: 1, Kind.END_THINK: 2, Kind.RESULT: 4}
