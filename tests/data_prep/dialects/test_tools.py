"""Tools, of the row and of its system message, as one list."""

from typing import Any

import pytest

from nemotron.data_prep.dialects.row import parse_row
from nemotron.data_prep.dialects.tools import remove_fill
from nemotron.data_prep.drop_reasons import DropReason, RowError

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}
BARE = {"name": "f", "parameters": SCHEMA}
WRAPPED = {"type": "function", "function": BARE}
MESSAGES = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]


def parse(tools: Any, in_system: Any = None) -> Any:
    system = [] if in_system is None else [{"role": "system", "content": "", "tools": in_system}]
    return parse_row({"messages": [*system, *MESSAGES], "tools": tools}).tools


def refusal(tools: Any, in_system: Any = None) -> str:
    with pytest.raises(RowError) as refused:
        parse(tools, in_system)
    assert refused.value.reason == DropReason.BAD_TOOLS
    return refused.value.detail


def test_tools_of_the_system_message_are_those_of_the_row() -> None:
    assert parse([WRAPPED], [BARE]) == [WRAPPED]
    assert parse([BARE], [WRAPPED]) == [BARE]
    assert parse(None, [WRAPPED]) == [WRAPPED]
    assert parse([WRAPPED], []) == [WRAPPED]
    assert parse([WRAPPED], " ") == [WRAPPED]
    assert parse(None, " ") is None
    assert "different tools" in refusal([WRAPPED], [{"name": "g"}])


def test_what_is_no_tool_is_shown() -> None:
    assert refusal([{"title": "f"}]).endswith('names no function; it has "title"')
    assert refusal([5]).endswith("names no function: 5")


@pytest.mark.parametrize("name", ["parameters", "input_schema", "inputSchema"])
def test_a_schema_is_under_one_name(name: str) -> None:
    assert parse([{"name": "f", name: SCHEMA, "strict": True}]) == [{"name": "f", "parameters": SCHEMA, "strict": True}]
    assert parse([{"name": "f", name: " "}]) == [{"name": "f"}]


def test_a_schema_given_twice_keeps_the_first_place() -> None:
    [tool] = parse([{"input_schema": SCHEMA, "name": "f", "parameters": SCHEMA}])
    assert [*tool.items()] == [("parameters", SCHEMA), ("name", "f")]
    [empty] = parse([{"input_schema": None, "name": "f", "parameters": {}}])
    assert empty == {"name": "f"}


FILLED = {"type": "object", "properties": {"a": {"type": "string", "enum": None}, "b": None}, "required": None}
NULL_DEFAULT = {"type": "object", "properties": {"a": {"type": "string", "default": None}}}


@pytest.mark.parametrize(
    ("tool", "cleaned"),
    [
        (BARE | {"strict": None}, BARE),
        (WRAPPED | {"strict": None}, WRAPPED),
        ({"type": "function", "function": BARE | {"strict": None}}, WRAPPED),
        ({"name": "f", "parameters": FILLED}, BARE),
        ({"name": "f", "parameters": {"anyOf": [FILLED]}}, {"name": "f", "parameters": {"anyOf": [SCHEMA]}}),
        ({"name": "f", "parameters": NULL_DEFAULT}, {"name": "f", "parameters": NULL_DEFAULT}),
    ],
)
def test_nulls_that_a_table_filled_in_are_removed(tool: dict[str, Any], cleaned: dict[str, Any]) -> None:
    assert remove_fill([tool]) == [cleaned]
    assert remove_fill([BARE, tool]) == [BARE, cleaned]


def test_tools_without_filled_nulls_stay_the_same_list() -> None:
    tools = [BARE, WRAPPED, {"name": "g", "parameters": NULL_DEFAULT}, {"name": "h"}]
    assert remove_fill(tools) is tools
