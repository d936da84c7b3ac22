"""What a value of a table is in JSON."""

from datetime import date, time
from decimal import Decimal

import pyarrow as pa
import pytest

from nemotron.data_prep.drop_reasons import Unreadable
from nemotron.data_prep.sources.tables.values import as_json, python_values, refuse_repeated_names
from nemotron.errors import UserError


def test_of_the_nulls_that_a_table_fills_in_only_that_of_a_content_stays() -> None:
    call = {"name": "add", "arguments": {"a": 6, "of_another_tool": None}}
    message = {"role": "assistant", "content": None, "tool_calls": [call], "tool_call_id": None}
    assert as_json([message]) == [
        {"role": "assistant", "content": None, "tool_calls": [{"name": "add", "arguments": {"a": 6}}]}
    ]


def test_numbers_keep_their_digits_and_dates_are_text() -> None:
    assert as_json({"n": Decimal(12345678901234567890), "x": Decimal("1.5")}) == {"n": 12345678901234567890, "x": 1.5}
    assert as_json([date(2026, 1, 31)]) == ["2026-01-31"]


def test_of_repeated_names_the_first_in_the_alphabet_is_named() -> None:
    with pytest.raises(UserError, match=r'^The header names "a" twice'):
        refuse_repeated_names(["b", "c", "a", "b", "a"], "The header")
    refuse_repeated_names(["a", "b"], "The header")


@pytest.mark.parametrize(
    ("value", "json_value"),
    [
        ("text", "text"),
        (("a", date(2026, 1, 31)), ["a", "2026-01-31"]),
        (time(12, 30), "12:30:00"),
        (b"bytes", "bytes"),
        (Decimal("NaN"), "NaN"),
        (Decimal("Infinity"), "Infinity"),
        (Decimal("1E+3"), 1000),
        (Decimal("0.1"), 0.1),
        (Decimal("0.10000000000000000001"), "0.10000000000000000001"),
        (True, True),
    ],
)
def test_a_value_of_a_table_is_what_json_has_for_it(value: object, json_value: object) -> None:
    found = as_json(value)
    assert (found, type(found)) == (json_value, type(json_value))


def test_what_has_no_form_is_unreadable_and_costs_no_other_value() -> None:
    assert isinstance(as_json(b"\xff"), Unreadable)
    names = pa.array([b"one", b"\xff", None], pa.binary()).view(pa.string())
    first, second, third = python_values(names)
    assert (first, third) == ("one", None)
    assert isinstance(second, Unreadable)
    assert "utf-8" in second.reason
