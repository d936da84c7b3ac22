"""How values are shown in a message: short, and without secrets."""

import pytest

from nemotron.data_prep.dialects.json_text import quote, shorten


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


def test_eight_names_are_listed() -> None:
    eight = ", ".join(f'"{name}"' for name in "abcdefgh")
    assert quote("abcdefgh") == eight
    assert quote("abcdefghi") == f"{eight}, ..."
