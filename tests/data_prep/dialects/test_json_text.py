"""How values are shown in a message: short, and without secrets."""

from typing import Any, NoReturn

import pytest

from nemotron.data_prep.dialects.json_text import decode_json, describe_kind, quote, shorten
from nemotron.data_prep.drop_reasons import Unreadable


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a" * 38, f'"{"a" * 38}"'),
        ("a" * 39, f'"{"a" * 36}...'),
        ({"ü": [1, None]}, '{"ü": [1, null]}'),
    ],
)
def test_forty_characters_are_shown(value: object, shown: str) -> None:
    assert shorten(value) == shown


def test_a_value_that_json_cannot_write_is_described() -> None:
    endless: list[object] = []
    endless.append(endless)
    assert shorten(endless) == "a list"


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ([], "empty"), ("", "empty"), ({}, "an object"), ([0], "a list"), ("a", "text"), (False, "true/false"),
        (0, "a number"), (0.5, "a number"), (float("inf"), "inf"), (float("nan"), "nan"),
        (None, "null"), (b"a", "bytes"), (Unreadable("too deep"), "unreadable (too deep)"),
    ],
)  # fmt: skip
def test_the_kind_of_a_value_is_named_in_words(value: object, kind: str) -> None:
    assert describe_kind(value) == kind


def test_eight_names_are_listed() -> None:
    eight = ", ".join(f'"{name}"' for name in "abcdefgh")
    assert quote("abcdefgh") == eight
    assert quote("abcdefghi") == f"{eight}, ..."


def test_no_piece_of_a_secret_is_shown() -> None:
    """It is cut after it was looked for, because a piece of one is not known as one."""
    secret = "hf_" + "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0dF3g"
    assert shorten("x" * 20 + f" {secret}") == f'"{"x" * 20} ***"'


def test_a_value_nested_too_deeply_to_be_written_is_described() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert shorten(deep) == "a list"
    assert shorten([b"a"]) == '["bytes"]'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[1e999]", "1e999 is not JSON"),
        ("[-1e999]", "-1e999 is not JSON"),
        ("[NaN]", "NaN is not JSON"),
        ('["\\ud83d"]', "half of a surrogate pair"),
        ("[1", "are broken JSON"),
    ],
)
def test_json_in_a_text_is_as_strict_as_the_row(text: str, problem: str) -> None:
    def refuse(why: str) -> NoReturn:
        raise ValueError(why)

    with pytest.raises(ValueError, match=problem):
        decode_json(text, refuse)
    assert decode_json('[1.5, 123456789012345678901, "\\u00e9"]', refuse) == [1.5, 123456789012345678901, "é"]
