"""Whole datasets share a few tool lists, so a process keeps one object for each."""

from typing import Any

import pytest

from nemotron.data_prep.chat.conversation import ToolList, share


def tool(**fields: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, **fields}}


def test_equal_tools_are_one_object() -> None:
    shared = share([tool()])
    assert share([tool()]) is share(shared) is shared == [tool()]
    assert isinstance(shared, ToolList)


@pytest.mark.parametrize("other", [tool(strict=1.0), tool(strict=True), tool(strict="1"), tool(Strict=1), {}])
def test_tools_that_a_template_may_show_differently_are_others(other: dict[str, Any]) -> None:
    assert share([other]) is not share([tool(strict=1)])
    assert share([other]) == [other]


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1])
def test_tools_without_a_form_in_orjson_stay_as_they_are(value: int) -> None:
    tools = [tool(maximum=value)]
    assert share(tools) is tools
