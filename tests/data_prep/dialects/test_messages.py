"""Single messages that say a thing twice, in the wrong place, or in the fields of another library."""

import json
from typing import Any

import pytest

from nemotron.data_prep.chat.conversation import Conversation
from nemotron.data_prep.dialects.row import parse_row
from nemotron.data_prep.drop_reasons import DropReason, RowError

USER = {"role": "user", "content": "Hi"}
ASSISTANT = {"role": "assistant", "content": "Hello"}


def call(name: str, **extra: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "arguments": {}}, **extra}


def parse(*messages: dict[str, Any]) -> Conversation:
    return parse_row({"messages": list(messages)})


def refusal(*messages: dict[str, Any]) -> RowError:
    with pytest.raises(RowError) as refused:
        parse(*messages)
    return refused.value


def test_tools_are_those_of_a_system_message_alone() -> None:
    tools = [call("now")]
    assert parse({"role": "system", "content": "", "tools": tools}, USER, ASSISTANT).tools == tools
    of_user = parse(USER | {"tools": tools}, ASSISTANT)
    assert of_user.tools is None
    assert [note.name for note in of_user.notes] == ["tools"]


def test_a_role_that_is_missing_is_told_from_one_that_is_null() -> None:
    assert "the role is null" in refusal({"role": None, "content": "Hi"}).detail
    assert 'the role is missing; it has "content"' in refusal({"content": "Hi"}).detail


def test_a_second_name_of_the_role_may_say_that_it_calls() -> None:
    calling = {"role": "assistant", "from": "function_call", "value": '{"name": "now", "arguments": {}}'}
    [_, message] = parse(USER, calling).messages
    assert message["tool_calls"] == [call("now")]


def test_what_langchain_keeps_beside_is_used_where_the_message_does_not_say_it() -> None:
    beside = {"tool_calls": [call("beside")], "reasoning_content": "Hm."}
    [_, alone] = parse(USER, ASSISTANT | {"additional_kwargs": beside}).messages
    assert (alone["tool_calls"], alone["reasoning_content"]) == ([call("beside")], "Hm.")
    own = {"tool_calls": [call("own")], "additional_kwargs": beside | {"function_call": call("old")["function"]}}
    [_, both] = parse(USER, ASSISTANT | own).messages
    assert (both["tool_calls"], both["reasoning_content"]) == ([call("own")], "Hm.")
    thinking = {"reasoning_content": "Mine.", "additional_kwargs": {"reasoning_content": "Other."}}
    assert parse(USER, ASSISTANT | thinking).messages[1]["reasoning_content"] == "Mine."


def test_calls_that_differ_are_named_with_their_fields() -> None:
    error = refusal(USER, ASSISTANT | {"tool_calls": [call("a")], "function_call": call("b")["function"]})
    assert (error.reason, '"tool_calls", "function_call"' in error.detail) == (DropReason.AMBIGUOUS, True)
    assert "content" not in error.detail
    parts = [{"type": "tool_use", "id": "1", "name": "b", "input": {}}]
    error = refusal(USER, ASSISTANT | {"tool_calls": [call("a")], "content": parts})
    assert (error.reason, '"tool_calls", "content"' in error.detail) == (DropReason.AMBIGUOUS, True)


CALLS = {"role": "function_call", "content": '{"name": "now", "arguments": {}}'}


def test_calls_continue_the_turn_before_them() -> None:
    [_, joined] = parse(USER, ASSISTANT, CALLS, CALLS).messages
    assert joined == {"role": "assistant", "content": "Hello", "tool_calls": [call("now"), call("now")]}
    error = refusal(USER, ASSISTANT | {"train": False}, CALLS)
    assert error.reason == DropReason.BAD_TRAIN_FLAG
    thinking = CALLS | {"content": f"<think>Hm.</think>{CALLS['content']}"}
    error = refusal(USER, {"role": "assistant", "content": "", "tool_calls": [call("now")]}, thinking)
    assert (error.reason, "in the middle" in error.detail) == (DropReason.BAD_CONTENT, True)


def result(content: object, **extra: object) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": "inner", "content": content, **extra}


def test_results_in_a_users_content_are_messages_of_their_own() -> None:
    asked = {"role": "assistant", "content": "", "tool_calls": [call("now", id="inner")]}
    parts = [result({"a": 1}), {"type": "text", "text": ""}]
    *_, answer, last = parse(
        USER, asked, {"role": "user", "content": parts, "tool_call_id": "outer"}, ASSISTANT
    ).messages
    assert answer == {"role": "tool", "content": '{"a": 1}', "tool_call_id": "inner"}
    assert last == ASSISTANT


def test_only_results_have_the_id_of_a_call() -> None:
    assert parse(USER | {"tool_call_id": "1"}, ASSISTANT).messages[0] == USER


def test_results_are_put_in_the_order_of_the_calls() -> None:
    asked = {"role": "assistant", "content": "", "tool_calls": [call(f"f{n}", id=f"{n}") for n in range(3)]}
    results = [{"role": "tool", "content": json.dumps(n), "tool_call_id": f"{n}"} for n in range(3)]
    for after in ((), (USER, ASSISTANT)):
        found = parse(USER, asked, results[2], results[0], results[1], *after)
        assert [message["content"] for message in found.messages[2:5]] == ["0", "1", "2"]
        assert [note.kind.value for note in found.notes] == ["reordered_results"]
        assert len(found.messages) == 5 + len(after)
        assert parse(USER, asked, *results, *after).notes == ()
