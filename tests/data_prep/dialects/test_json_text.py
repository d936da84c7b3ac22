"""How values are shown in a message: short, and without secrets."""

import pytest

from nemotron.data_prep.dialects.json_text import describe_kind, quote, shorten


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
        (None, "null"), (b"a", "bytes"),
    ],
)  # fmt: skip
def test_the_kind_of_a_value_is_named_in_words(value: object, kind: str) -> None:
    assert describe_kind(value) == kind


def test_eight_names_are_listed() -> None:
    eight = ", ".join(f'"{name}"' for name in "abcdefgh")
    assert quote("abcdefgh") == eight
    assert quote("abcdefghi") == f"{eight}, ..."
