"""What a value of a table is in JSON."""

from datetime import date
from decimal import Decimal

import pytest

from nemotron.data_prep.sources.tables.values import as_json, refuse_repeated_names
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
