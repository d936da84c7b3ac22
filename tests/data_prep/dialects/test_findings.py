"""Rows of a table: Arrow gives all objects of a list the same keys."""

from typing import Any

import pytest

from nemotron.data_prep.dialects.findings import is_table

USER = {"role": "user", "content": "Hi", "name": None}
CALL = {"role": "assistant", "content": None, "name": "bob"}


@pytest.mark.parametrize(
    ("messages", "table"),
    [
        ([USER, CALL], True),
        ([CALL, CALL], False),  # an answer without content is no missing value
        ([{"role": "user", "content": None}, {"role": "assistant", "content": None}], False),
        ([USER, {"role": "assistant", "content": "Yes"}], False),
        ([USER, "Hi"], False),
        (["Hi", USER], False),
        ([["role", "content", "name"], USER], False),
        ([{"role": "user", "name": None}], False),  # too few to tell
    ],
)
def test_a_table_has_the_same_keys_in_all_messages_and_null_for_what_is_missing(
    messages: list[Any], table: bool
) -> None:
    assert is_table(messages) is table
