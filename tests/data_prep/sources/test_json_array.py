"""JSON arrays are read a stretch at a time: what comes out does not depend on where the stretches end."""

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemotron.data_prep.sources import json_array
from nemotron.data_prep.sources.json_array import array_elements
from nemotron.errors import UserError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


def elements(content: bytes, stretch: int = json_array.STRETCH_CHARACTERS) -> list[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_array, "STRETCH_CHARACTERS", stretch)
        return list(array_elements(io.BytesIO(content), "rows.json"))


@given(
    values=st.lists(VALUES, max_size=6),
    stretch=st.integers(1, 40),
    indent=st.sampled_from([None, 0, 2]),
    ensure_ascii=st.booleans(),
)
def test_elements_are_those_of_the_array_wherever_the_stretches_end(
    values: list[Any], stretch: int, indent: int | None, ensure_ascii: bool
) -> None:
    content = json.dumps(values, indent=indent, ensure_ascii=ensure_ascii).encode()
    assert [json.loads(element) for element in elements(content, stretch)] == values


def test_characters_may_be_cut_too() -> None:
    content = '["\u00e9\u6771\U0001f600"]'
    assert elements(content.encode(), stretch=1) == [content[1:-1]]


@pytest.mark.parametrize("element", [b'{"a": "b"}, ', b'"a", ', b"1, "])
def test_memory_holds_a_stretch_and_not_the_file(element: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_array, "STRETCH_CHARACTERS", 2**14)

    class Endless(io.BufferedIOBase):
        """An array without an end, which knows how much of it was read."""

        position = 0

        def read(self, size: int | None = -1, /) -> bytes:
            assert size is not None
            assert size > 0
            block = b"[" if self.position == 0 else element * (size // len(element))
            self.position += len(block)
            return block

    file = Endless()
    found = array_elements(file, "endless")
    for _ in range(1000):
        next(found)
    assert file.position < 2 * json_array.STRETCH_CHARACTERS


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b'[{"n": 1},\n {"n": }]', "rows.json:2 is not valid JSON: Expecting value"),
        (b"[1\n\n 2]", "rows.json:3 is not valid JSON: expecting ']'"),
        (b"[1, 2", "rows.json:1 is not valid JSON: expecting ']'"),
        (b'["abc', "rows.json:1 is not valid JSON: Unterminated string"),
        (b"[1]\n[2]", "rows.json:2 is not valid JSON: there is more after the end"),
        (b'["\xff"]', "rows.json:1 is not valid JSON: it is not UTF-8"),
        (b'["a"]\n\xc3', "rows.json:2 is not valid JSON: it is not UTF-8"),  # it was cut in a character
    ],
)
@pytest.mark.parametrize("stretch", [1, 2**22])
def test_a_broken_array_is_an_error_with_its_line(content: bytes, problem: str, stretch: int) -> None:
    with pytest.raises(UserError) as error:
        elements(content, stretch)
    assert error.value.message.startswith(problem)


def test_an_array_nested_too_deeply_is_an_error() -> None:
    with pytest.raises(UserError, match="nested"):
        elements(b"[" * 100_000)


def test_a_number_is_not_cut_where_a_stretch_ends() -> None:
    assert elements(b"[123456, 7]", stretch=3) == ["123456", "7"]


def test_an_empty_array_has_no_element() -> None:
    assert elements(b"\xef\xbb\xbf [ ] \n") == []


def test_a_number_of_any_length_is_one_element() -> None:
    assert elements(b"[" + b"1" * 5000 + b", 2]") == ["1" * 5000, "2"]
