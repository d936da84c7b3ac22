"""Content in parts, calls and thoughts of other dialects: what they are in ours, and what is refused."""

from typing import Any

import pytest

from nemotron.data_prep.dialects.row import parse_row
from nemotron.data_prep.drop_reasons import RowError

USER = {"role": "user", "content": "?"}
CALL = {"name": "add", "arguments": {"a": 1}}
TEXT = {"type": "text", "text": "Yes."}
THOUGHT = {"type": "thinking", "thinking": "why"}
RESULT = {"type": "tool_result", "tool_use_id": "1", "content": "3"}
USE = {"type": "tool_use", "id": "1", "name": "add", "input": {"a": 1}}


def answer(message: dict[str, Any]) -> dict[str, Any]:
    read = parse_row({"messages": [USER, {"role": "assistant", **message}]}).messages[1]
    return {key: value for key, value in read.items() if key != "role"}


def notes(message: dict[str, Any]) -> list[str]:
    conversation = parse_row({"messages": [USER, {"role": "assistant", **message}]})
    return [note.name for note in conversation.notes if note.kind == "unused_message_field"]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"content": [THOUGHT, TEXT]}, {"content": "Yes.", "reasoning_content": "why"}),
        ({"content": ["Ye", {"text": "s."}]}, {"content": "Yes."}),
        ({"content": [{"type": "text", "text": None}, TEXT]}, {"content": "Yes."}),
        (
            {"content": [{"type": "thinking", "thinking": ["wh", {"type": "text", "text": "y"}]}, TEXT]},
            {"content": "Yes.", "reasoning_content": "wh\n\ny"},
        ),
        ({"content": "A", "reasoning_content": ["w", {"text": "hy"}]}, {"content": "A", "reasoning_content": "why"}),
        ({"content": "Yes.", "thinking": True}, {"content": "Yes."}),  # a switch
        ({"content": "Yes.", "reasoning_details": [], "thinking_blocks": {}}, {"content": "Yes."}),
        ({"content": [{"type": "thinking", "thinking": ""}, TEXT]}, {"content": "Yes."}),
        ({"content": "A", "reasoning_content": "why\n</think>"}, {"content": "A", "reasoning_content": "why"}),
        ({"content": "A", "reasoning_content": " <think>why"}, {"content": "A", "reasoning_content": "why"}),
        ({"content": "A", "reasoning_content": " a<think> b"}, {"content": "A", "reasoning_content": " a<think> b"}),
        ({"content": "A", "reasoning_content": [{"text": ""}, "why"]}, {"content": "A", "reasoning_content": "why"}),
        (
            {"content": "A", "reasoning_details": [{"data": "x"}, {"text": "why"}, {"encrypted_content": "y"}]},
            {"content": "A", "reasoning_content": "why"},
        ),
        ({"content": "A", "reasoning": " ", "thinking": "why"}, {"content": "A", "reasoning_content": "why"}),
        ({"content": "A", "thinking": "why", "reasoning": " why\n"}, {"content": "A", "reasoning_content": " why\n"}),
        ({"content": "", "refusal": "I cannot."}, {"content": "I cannot."}),
        (
            {"content": "", "additional_kwargs": {"reasoning_content": "why", "refusal": "No."}},
            {"content": "No.", "reasoning_content": "why"},
        ),
    ],
)  # fmt: skip
def test_parts_and_other_names_are_text_and_thoughts(message: dict[str, Any], expected: dict[str, Any]) -> None:
    assert answer(message) == expected


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({"content": [TEXT, THOUGHT]}, "has a thought after its text"),
        ({"content": [USE, TEXT]}, "has a text after a tool call"),
        ({"content": [TEXT, RESULT]}, "a tool's result for a content part"),
        ({"content": [7]}, "for a content part"),
        ({"content": [{"type": "image_url"}]}, "which is no text"),
        ({"content": [{"type": "text"}]}, "a content part without text"),
        ({"content": [{"type": "thinking", "signature": "x"}]}, "a thought without text"),
        ({"content": [{"type": "thinking", "thinking": 7}]}, "for a thought"),
        ({"content": [{"type": "thinking", "thinking": [7]}]}, "for a part of a thought"),
        ({"content": "Yes.", "reasoning_content": [7]}, "reasoning_content has a number for a part"),
        ({"content": "Yes.", "reasoning_content": [{"kind": "x"}]}, "reasoning_content has a part without text"),
        ({"content": "Yes.", "reasoning_details": [{"data": "x"}]}, "is encrypted, and has no text"),
        ({"content": "Yes.", "reasoning_details": [{"encrypted_content": "x"}, {"data": "y"}]}, "is encrypted"),
        ({"content": "Yes.", "reasoning_content": True}, "reasoning_content is true/false"),
        ({"content": "Yes.", "reasoning": "a", "thinking": "b"}, "two thoughts"),
        ({"content": [{"type": "text", "text": None, "more": 5}]}, "a content part without text"),
        ({"content": "Yes.", "value": "No."}, "two texts"),
        ({"name": "x"}, "has no content"),
        ({"content": "", "tool_calls": [CALL], "function_call": {**CALL, "name": "sub"}}, "tool calls differ"),
    ],
)
def test_what_is_not_clear_is_refused(message: dict[str, Any], said: str) -> None:
    with pytest.raises(RowError, match=said):
        answer(message)


def test_the_same_call_given_twice_is_one() -> None:
    assert answer({"content": "", "tool_calls": [CALL], "function_call": CALL})["tool_calls"] == [
        {"type": "function", "function": CALL}
    ]


def test_fields_that_nobody_reads_are_noted() -> None:
    assert notes({"content": [{**TEXT, "citations": ["x"]}]}) == []
    assert notes({"content": "Yes.", "additional_kwargs": {"parsed": {"a": 1}, "empty": None}}) == [
        "additional_kwargs.parsed"
    ]
    assert notes({"content": "Yes.", "refusal": "No."}) == ["refusal"]
    assert notes({"content": "Yes.", "refusal": "Yes."}) == []
    assert notes({"content": "Yes.", "thinking": True, "reasoning": False}) == ["reasoning", "thinking"]
    mixed = [{"text": "why"}, {"data": "x"}]
    assert notes({"content": "Yes.", "reasoning_details": mixed}) == ["reasoning_details[].data"]
    assert notes({"content": "Yes.", "reasoning_details": mixed[:1]}) == []


def test_results_in_a_users_message_are_messages_of_their_own() -> None:
    content = [RESULT, {"type": "text", "text": "And "}, {"type": "text", "text": "then?"}]
    messages = [USER, {"role": "assistant", "content": [USE]}, {"role": "user", "content": content}]
    read = parse_row({"messages": [*messages, {"role": "assistant", "content": "4"}]}).messages
    assert [(message["role"], message["content"]) for message in read[2:]] == [
        ("tool", "3"), ("user", "And then?"), ("assistant", "4"),
    ]  # fmt: skip
    with pytest.raises(RowError, match="a content part that is a thought, not text"):
        parse_row({"messages": [{"role": "user", "content": [THOUGHT]}, {"role": "assistant", "content": "4"}]})


def results(*ids: str | None, calls: tuple[str | None, ...] = ("1", "2")) -> list[str]:
    """The texts of results with these ids, in the order in which they train."""
    made = [{**({"id": id} if id else {}), **CALL} for id in calls]
    told = [{"role": "tool", "content": f"of {id}", **({"tool_call_id": id} if id else {})} for id in ids]
    messages = [USER, {"role": "assistant", "content": "", "tool_calls": made}, *told]
    read = parse_row({"messages": [*messages, {"role": "assistant", "content": "4"}]}).messages
    return [message["content"] for message in read if message["role"] == "tool"]


def test_results_stand_in_the_order_of_their_calls() -> None:
    assert results("2", "1") == ["of 1", "of 2"]
    assert results("1", "2") == ["of 1", "of 2"]
    assert results("2", "3") == ["of 2", "of 3"]  # of no call
    assert results("2", "1", calls=("1", None)) == ["of 2", "of 1"]
    assert results("2", "1", calls=("1", "1")) == ["of 2", "of 1"]


@pytest.mark.parametrize("name", ["", None, 5, ["add"]])
@pytest.mark.parametrize("more", [{}, {"index": 0}])  # in the usual form, and in any other
def test_a_call_names_its_function(name: object, more: dict[str, int]) -> None:
    call = {"type": "function", "function": {"name": name, "arguments": {"a": 1}}, **more}
    with pytest.raises(RowError, match="a tool call names no function"):
        answer({"content": "", "tool_calls": [call]})
