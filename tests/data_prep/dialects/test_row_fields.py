"""What a row says beside its messages, and which rows say nothing there."""

from datetime import datetime
from typing import Any

import pytest

from nemotron.data_prep.dialects.row import parse_row
from nemotron.data_prep.dialects.row_fields import is_plain
from nemotron.data_prep.drop_reasons import DropReason, RowError

MESSAGES = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]


@pytest.mark.parametrize(
    ("row", "plain"),
    [
        ({"messages": MESSAGES}, True),
        ({"messages": MESSAGES, "tools": [], "id": 1, "source": "web", "metadata": "text"}, True),
        ({"messages": MESSAGES, "quality": 5}, False),
        ({"messages": MESSAGES, "metadata": {}}, False),
        ({"chat": MESSAGES}, False),
    ],
)
def test_a_plain_row_has_only_messages_tools_and_metadata(row: dict[str, Any], plain: bool) -> None:
    assert is_plain(row, "messages", "tools") is plain
    renamed = {{"messages": "said", "tools": "functions"}.get(name, name): value for name, value in row.items()}
    assert is_plain(renamed, "said", "functions") is plain


def test_the_messages_of_a_plain_row_are_not_copied() -> None:
    assert parse_row({"messages": MESSAGES, "id": 1}).messages is MESSAGES


def test_flags_of_the_row_do_not_hide_what_is_no_message() -> None:
    with pytest.raises(RowError) as refused:
        parse_row({"messages": ["Hi", MESSAGES[1]], "loss_mask": [0, 1]})
    assert refused.value.reason == DropReason.BAD_MESSAGE


def test_a_value_of_a_table_that_json_has_no_form_for_costs_its_row() -> None:
    tools = [{"name": "now", "parameters": {"type": "object", "default": datetime(2026, 1, 2)}}]
    with pytest.raises(RowError, match="datetime") as refused:
        parse_row({"messages": MESSAGES, "tools": tools})
    assert refused.value.reason == DropReason.BAD_TOOLS


@pytest.mark.parametrize(("number", "again"), [(2.0**62, 0), (2.0**63, 1), (-(2.0**63), 1), (2**62, 0)])
def test_a_row_is_decoded_again_where_an_integer_may_have_been_rounded(number: float, again: int) -> None:
    call = {"function": {"name": "f", "arguments": {"a": number}}}
    row = {"messages": [MESSAGES[0], MESSAGES[1] | {"tool_calls": [call]}]}
    asked: list[int] = []
    parse_row(row, exact=lambda: asked.append(1) or row)
    assert len(asked) == again


@pytest.mark.parametrize("error", [ValueError, RecursionError])
def test_a_row_that_cannot_be_decoded_again_is_dropped(error: type[Exception]) -> None:
    def fail() -> Any:
        raise error("why")

    call = {"function": {"name": "f", "arguments": {"a": 1e300}}}
    with pytest.raises(RowError, match="would lose digits: why"):
        parse_row({"messages": [MESSAGES[0], MESSAGES[1] | {"tool_calls": [call]}]}, exact=fail)
