"""Rows as other tools write them mean the same conversation as in our own dialect."""

import json
from typing import Any

import pytest

from nemotron.data_prep.chat.content_hash import content_hash
from nemotron.data_prep.dialects.row import parse_row
from nemotron.data_prep.drop_reasons import RowError

SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "Weather in Rome?"}
CALL = {"name": "weather", "arguments": {"city": "Rome"}}
RESULT = {"role": "tool", "content": "sunny"}
ANSWER = {"role": "assistant", "content": "Sunny."}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOL = {"name": "weather", "description": "The weather.", "parameters": SCHEMA}
OURS = parse_row(
    {
        "messages": [
            *(SYSTEM, USER),
            {"role": "assistant", "content": "I look.", "reasoning_content": "A tool helps.", "tool_calls": [CALL]},
            *(RESULT, ANSWER),
        ],
        "tools": [{"type": "function", "function": TOOL}],
    }
)

ANTHROPIC = {
    "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
    "tools": [{"name": "weather", "description": "The weather.", "input_schema": SCHEMA}],
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "Weather in Rome?"}]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "A tool helps.", "signature": "abc"},
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Rome"}},
            ],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "sunny"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "Sunny."}]},
    ],
}
LANGCHAIN = {
    "messages": [
        {"type": "system", "content": "Be brief."},
        {"type": "human", "data": {"content": "Weather in Rome?", "type": "human", "example": None}},
        {
            "type": "ai",
            "content": "I look.",
            "tool_calls": [{"name": "weather", "args": {"city": "Rome"}, "id": "c1", "type": "tool_call"}],
            "additional_kwargs": {
                "reasoning_content": "A tool helps.",
                "tool_calls": [{"id": "c1", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}],
            },
        },
        {"type": "tool", "content": "sunny", "tool_call_id": "c1", "name": "weather"},
        {"type": "ai", "content": "Sunny.", "tool_calls": [], "invalid_tool_calls": []},
    ],
    "functions": [TOOL],
}
OPENROUTER = {
    "messages": [
        *(SYSTEM, USER),
        {
            "role": "assistant",
            "content": "I look.",
            "refusal": None,
            "reasoning": "A tool helps.",
            "reasoning_details": [
                {"type": "reasoning.text", "text": "A tool ", "index": 0},
                {"type": "reasoning.text", "text": "helps.", "index": 0},
            ],
            "tool_calls": [{"id": "c", "index": 0, "type": "function", "function": CALL}],
        },
        *(RESULT | {"tool_call_id": "c"}, ANSWER),
    ],
    "tools": [{"type": "function", "function": TOOL}],
}
LLAMA_FACTORY = {
    "system": "Be brief.",
    "tools": json.dumps([TOOL]),
    "conversations": [
        {"from": "human", "value": "Weather in Rome?"},
        {"from": "gpt", "value": "I look.", "reasoning_content": "A tool helps."},
        {"from": "function_call", "value": json.dumps(CALL)},
        {"from": "observation", "value": "sunny"},
        {"from": "gpt", "value": "Sunny."},
    ],
}
MS_SWIFT = {
    "tools": json.dumps([json.dumps(TOOL)]),
    "messages": [
        *(SYSTEM, USER),
        {"role": "assistant", "content": "I look.", "reasoning": "A tool helps."},
        {"role": "tool_call", "content": json.dumps(CALL)},
        {"role": "tool_response", "content": "sunny"},
        ANSWER | {"loss": True},
    ],
}
LLAMA_3 = {
    "messages": [
        *(SYSTEM | {"tools": [TOOL]}, USER),
        {
            "role": "assistant",
            "content": "I look.",
            "thinking": "<think>A tool helps.</think>",
            "tool_calls": [{"name": "weather", "parameters": {"city": "Rome"}}],
        },
        *({"role": "ipython", "content": "sunny"}, ANSWER),
    ],
}


@pytest.mark.parametrize(
    "row",
    [ANTHROPIC, LANGCHAIN, OPENROUTER, LLAMA_FACTORY, MS_SWIFT, LLAMA_3],
    ids=["Anthropic", "LangChain", "OpenRouter", "LLaMA-Factory", "ms-swift", "Llama 3"],
)
def test_a_row_of_another_tool_is_the_same_conversation(row: dict[str, Any]) -> None:
    conversation = parse_row(row)
    assert content_hash(conversation) == content_hash(OURS)
    assert not [note for note in conversation.notes if note.kind.startswith("unused")]


def filled_in(value: Any, keys: dict[str, Any]) -> Any:
    return {**dict.fromkeys(keys), **value}


def test_nulls_that_a_table_filled_in_are_absent() -> None:
    """`Dataset.to_json` gives all messages, tools, schemas and arguments of a column the same keys."""
    keys: dict[str, Any] = dict.fromkeys(("role", "content", "reasoning_content", "tool_calls", "tool_call_id"))
    arguments = {"city": "Rome", "zone": None}
    wrapped = {"id": None, "type": "function", "function": {"name": "weather", "arguments": arguments}}
    calling = {
        "role": "assistant", "content": "I look.", "reasoning_content": "A tool helps.", "tool_calls": [wrapped],
    }  # fmt: skip
    schema = {"type": "object", "properties": {"city": {"type": "string", "enum": None}, "zone": None}}
    row = {
        "messages": [filled_in(message, keys) for message in (SYSTEM, USER, calling, RESULT, ANSWER)],
        "conversations": None,
        "tools": [{"type": "function", "function": TOOL | {"parameters": schema, "strict": None}}],
    }
    conversation = parse_row(row)
    assert content_hash(conversation) == content_hash(OURS)
    assert {note.kind.value for note in conversation.notes} == {"filled_nulls"}


def test_an_encrypted_part_beside_the_text_of_a_thought_is_noted() -> None:
    details = [{"type": "reasoning.text", "text": "A tool helps."}, {"type": "reasoning.encrypted", "data": "x"}]
    conversation = parse_row({"messages": [USER, ANSWER | {"reasoning_details": details}]})
    assert conversation.messages[1]["reasoning_content"] == "A tool helps."
    assert [note.name for note in conversation.notes] == ["reasoning_details[].data"]


@pytest.mark.parametrize(
    ("pieces", "thought"),
    [
        (["One.\n", "Two."], "One.\nTwo."),
        (["One.", " Two."], "One. Two."),
        (["One.", "Two."], "One.\n\nTwo."),
        (["", "One.", ""], "One."),
    ],
)
def test_pieces_of_a_thought_are_paragraphs_unless_blanks_stand_between_them(pieces: list[str], thought: str) -> None:
    content = [{"type": "thinking", "thinking": piece} for piece in pieces] + [{"type": "text", "text": "So."}]
    answer = parse_row({"messages": [USER, {"role": "assistant", "content": content}]}).messages[1]
    assert (answer["reasoning_content"], answer["content"]) == (thought, "So.")


def test_results_stay_in_their_order_where_ids_do_not_say_which_call_is_meant() -> None:
    calls = [{"id": id, "function": {"name": "f", "arguments": {}}} for id in ("a", "a", "b")]
    results = [{"role": "tool", "tool_call_id": id, "content": content} for id, content in (("b", "1"), ("a", "2"))]
    said = parse_row({"messages": [USER, {"role": "assistant", "tool_calls": calls}, *results, ANSWER]})
    assert [message["content"] for message in said.messages if message["role"] == "tool"] == ["1", "2"]
    assert said.notes == ()


def test_nulls_that_the_model_wrote_stay() -> None:
    call = {"name": "weather", "arguments": '{"city": null}'}
    keys = {"role": None, "content": None, "tool_calls": None}
    row = {"messages": [filled_in(USER, keys), filled_in({"role": "assistant", "tool_calls": [call]}, keys)]}
    assert parse_row(row).messages[1]["tool_calls"][0]["function"]["arguments"] == {"city": None}


@pytest.mark.parametrize("key", ["default", "const", "example"])
def test_a_null_that_a_schema_may_have_is_no_fill(key: str) -> None:
    tool = {"name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "string", key: None}}}}
    assert parse_row({"messages": [USER, ANSWER], "tools": [tool]}).tools == [tool]


@pytest.mark.parametrize(
    ("row", "reason", "named"),
    [
        ({"mask": "Assistant", "conversations": [{"from": "User", "value": "a"}, {"from": "Assistant", "value": "b"}]},
         "bad_train_flag", '"mask"'),  # NeMo: the other way around
        ({"messages": [USER, ANSWER], "loss_mask": [1]}, "bad_train_flag", "1 flags for 2 messages"),
        ({"messages": [USER, ANSWER], "loss_mask": [0, 0.5]}, "bad_train_flag", "0.5"),
        ({"messages": [USER, ANSWER | {"loss_scale": 0.3}]}, "bad_train_flag", "loss_scale is 0.3"),
        ({"messages": [USER, ANSWER | {"train": True, "mask": 1}]}, "bad_train_flag", "contradict"),
        ({"messages": [USER, ANSWER | {"train_detail": [{"begin_offset": 0}]}]}, "bad_train_flag", "train_detail"),
        ({"messages": [USER, ANSWER], "train": False}, "no_trained_turn", '"train"'),
        ({"conversations": [{"from": "gpt", "value": "I look.", "loss": False},
                            {"from": "function_call", "value": json.dumps(CALL)}]}, "bad_train_flag", "message 1"),
        ({"messages": [USER, ANSWER | {"reasoning": "a", "thinking": "b"}]}, "ambiguous", '"a"'),
        ({"messages": [USER, ANSWER | {"reasoning": "a", "content": "<think>b</think>c"}]}, "ambiguous", '"b"'),
        ({"messages": [USER, ANSWER | {"reasoning_content": "<think>a</think>b"}]}, "ambiguous", "</think>"),
        ({"messages": [USER, ANSWER | {"reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}]}]},
         "bad_content", "encrypted"),
        ({"messages": [USER, {"role": "assistant", "content": [{"type": "redacted_thinking", "data": "x"}]}]},
         "bad_content", '"redacted_thinking"'),
        ({"messages": [USER, {"role": "assistant", "content": [
            {"type": "tool_use", "name": "f", "input": {}}, {"type": "text", "text": "after"}]}]},
         "bad_content", '"after"'),
        ({"messages": [{"role": "user", "content": [{"type": "image", "image": "cat.jpg"}]}, ANSWER]},
         "bad_content", '"image"'),
        ({"messages": [USER | {"images": ["cat.jpg"]}, ANSWER]}, "media", "cat.jpg"),
        ({"messages": [USER, ANSWER], "audios": ["cat.wav"]}, "media", '"audios"'),
        ({"messages": [USER, ANSWER], "kto_tag": False}, "preference_data", '"kto_tag"'),
        ({"messages": [USER, ANSWER], "rejected_response": "no"}, "preference_data", '"rejected_response"'),
        ({"messages": [USER, {"role": "assistant", "tool_calls": [{"name": "f", "params": {"a": 1}}]}]},
         "bad_tool_arguments", '"params"'),
        ({"messages": [{"role": "assistant", "tool_calls": [{"name": "f", "args": {"a": 1}, "input": {"a": 0}}]}]},
         "bad_tool_arguments", '"args", "input"'),
        ({"messages": [USER, {"role": "assistant", "function_calls": "f(a=1)"}]}, "bad_tool_calls", "JSON"),
        ({"messages": [USER, ANSWER], "tools": [TOOL], "functions": [{"name": "g"}]}, "bad_tools", '"functions"'),
        ({"messages": [USER, ANSWER], "tools": [{"name": "f", "parameters": "{"}]}, "bad_tools", "(f)"),
        ({"system": "a", "system_prompt": "b", "messages": [USER, ANSWER]}, "ambiguous", '"b"'),
        ({"messages": [{"role": "user", "from": "gpt", "content": "a"}, ANSWER]}, "bad_role", '"gpt"'),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_by_name(row: dict[str, Any], reason: str, named: str) -> None:
    with pytest.raises(RowError) as refused:
        parse_row(row)
    assert refused.value.reason == reason
    assert named in refused.value.detail


@pytest.mark.parametrize(
    ("flags", "trained"),
    [
        ({"mask": "User"}, [True, True]),  # NeMo
        ({"loss_mask": [0, 0, 0, 1]}, [False, True]),
        ({"train": True}, [True, True]),
        ({"weight": None}, [True, True]),
    ],
)
def test_flags_of_a_row_are_read(flags: dict[str, Any], trained: list[bool]) -> None:
    conversation = parse_row({"messages": [USER, ANSWER, USER, ANSWER], **flags})
    assert ["train" not in message for message in conversation.messages[1::2]] == trained


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        ({"loss_mask": [0, 1]}, r'"loss_mask" of the row has 2 flags for 4 messages'),
        ({"mask": [0, 0, 0, 1]}, r'"mask" of the row is a list'),
        ({"train": 2}, "train is 2"),
        ({"train": "yes"}, "train is .yes"),
    ],
)
def test_flags_of_a_row_that_cannot_be_meant_are_refused(flags: dict[str, Any], problem: str) -> None:
    with pytest.raises(RowError, match=f"bad_train_flag.*{problem}"):
        parse_row({"messages": [USER, ANSWER, USER, ANSWER], **flags})


@pytest.mark.parametrize(
    "flag", [{"masked": 1}, {"ignore": True}, {"step_loss_mask": 0}, {"loss_scale": 0.0}, {"trainable": False}]
)
def test_flags_of_a_message_are_read(flag: dict[str, Any]) -> None:
    conversation = parse_row({"messages": [USER, ANSWER | flag, USER, ANSWER]})
    assert conversation.messages[1].get("train") is False


@pytest.mark.parametrize(
    ("content", "becomes"),
    [
        ("so it is 4.</think>4", "<think>\nso it is 4.</think>4"),
        ("so it is 4.</think>", "<think>\nso it is 4.</think>"),
        ("so it is 4.\n</think>\n\n4", "<think>\nso it is 4.\n</think>\n\n4"),
        ("\nso it is 4. </think> 4", "<think>\nso it is 4. </think> 4"),
        ("</think>\n\n4", "4"),
        ("<think> \n </think>\n\n4", "4"),
        ("Write </think> to end a thought.", None),
        ("A thought ends with `</think>`", None),
        ('Close it with "</think>".', None),
        ("```\nprint('</think>')\n```", None),
        ("```\n</think>\n```\nends it", None),
        ("First a</think>, then b</think>.", None),
        ("In XML, <think> opens.", None),
    ],
)
def test_a_tag_is_a_thought_by_its_position(content: str, becomes: str | None) -> None:
    message = parse_row({"messages": [USER, ANSWER | {"content": content}]}).messages[1]
    assert message["content"] == (content if becomes is None else becomes)


def test_a_thought_before_a_call_in_the_same_text_is_reasoning() -> None:
    """LLaMA-Factory puts a thought in front of the JSON of a function_call."""
    value = f"<think>A tool helps.</think>{json.dumps(CALL)}"
    row = {"conversations": [{"from": "human", "value": "?"}, {"from": "function_call", "value": value}]}
    [_, message] = parse_row(row).messages
    assert message["content"] == "<think>A tool helps.</think>"
    assert message["tool_calls"][0]["function"] == CALL


def test_results_and_text_in_one_message_of_the_user_are_messages_of_their_own() -> None:
    content = [
        {"type": "tool_result", "tool_use_id": "b", "content": [{"type": "text", "text": "2"}], "is_error": True},
        {"type": "tool_result", "tool_use_id": "a", "content": "1"},
        {"type": "text", "text": "Go on."},
    ]
    uses = [{"type": "tool_use", "id": name, "name": name, "input": {}} for name in "ab"]
    row = {"messages": [USER, {"role": "assistant", "content": uses}, {"role": "user", "content": content}, ANSWER]}
    conversation = parse_row(row)
    assert [message["content"] for message in conversation.messages[2:]] == ["1", "2", "Go on.", "Sunny."]
    assert {(note.kind.value, note.name) for note in conversation.notes} == {
        ("reordered_results", ""), ("unused_message_field", "tool_result.is_error"),
    }  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [
        {"city": "Rome", "zone": None, "days": 1},
        {"city": "Rome", "places": [{"zone": None, "days": 1}], "days": 1},
        {"city": "Rome", "place": {"days": 1, "zone": None}},
    ],
)
def test_a_null_of_a_table_is_found_among_filled_arguments_and_inside_them(arguments: dict[str, Any]) -> None:
    keys: dict[str, Any] = dict.fromkeys(("role", "content", "tool_calls"))
    calling = {"role": "assistant", "tool_calls": [{"name": "weather", "arguments": arguments}]}
    row = {"messages": [filled_in(message, keys) for message in (USER, calling, RESULT, ANSWER)]}
    conversation = parse_row(row)
    [call] = conversation.messages[1]["tool_calls"]
    assert "zone" not in json.dumps(call)
    assert call["function"]["arguments"].keys() == arguments.keys() - {"zone"}
    assert {note.kind.value for note in conversation.notes} == {"filled_nulls"}
