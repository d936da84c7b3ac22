import datetime
import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemotron.data_prep.chat.null_content import NullText
from nemotron.data_prep.dialects.row import parse_row
from nemotron.data_prep.drop_reasons import DropReason, RowError
from nemotron.data_prep.notes import NoteKind

USER = {"role": "user", "content": "What is 6 times 7?"}
ASSISTANT = {"role": "assistant", "content": "42"}
THOUGHT = {"reasoning_content": "6 * 7"}
TOOL = {"type": "function", "function": {"name": "multiply", "parameters": {"type": "object"}}}


def calling(arguments: object) -> dict:
    call = {"id": "c0", "type": "function", "function": {"name": "multiply", "arguments": arguments}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def parse(*messages: object, **fields: object):
    return parse_row({"messages": list(messages), **fields})


def test_a_plain_conversation_stays_as_it_is():
    conversation = parse({"role": "system", "content": " Be brief. "}, USER, ASSISTANT)

    assert conversation.messages == [{"role": "system", "content": " Be brief. "}, USER, ASSISTANT]
    assert conversation.tools is None


def test_other_dialects_mean_the_same():
    conversation = parse(
        {"role": "developer", "content": [{"type": "text", "text": "Be "}, {"type": "text", "text": "brief."}]},
        {"role": "user", "content": ["What is ", "6 times 7?"]},
        {"role": "assistant", "content": None, "reasoning_content": None, "tool_calls": None},
        {"role": "function", "name": "multiply", "content": None},
        ASSISTANT,
    )

    assert conversation.messages == [
        {"role": "system", "content": "Be brief."},
        USER,
        {"role": "assistant", "content": ""},
        {"role": "tool", "content": "", "name": "multiply"},
        ASSISTANT,
    ]


@pytest.mark.parametrize("arguments", [{"a": 6, "b": [7]}, '{"a": 6, "b": [7]}', ' {"a":6,"b":[7]}\n'])
def test_tool_arguments_are_an_object_or_its_json(arguments: object):
    message = parse(USER, calling(arguments)).messages[1]

    assert message["tool_calls"] == [
        {"id": "c0", "type": "function", "function": {"name": "multiply", "arguments": {"a": 6, "b": [7]}}}
    ]


@pytest.mark.parametrize("arguments", [None, "null", "", " ", "{}", {}])
def test_a_call_may_have_no_arguments(arguments: object):
    assert parse(USER, calling(arguments)).messages[1]["tool_calls"][0]["function"]["arguments"] == {}


def test_nulls_that_a_table_filled_in_are_no_tool_arguments():
    """In a table all messages have the same keys, as the user's shows; elsewhere a null is an argument."""
    call = {"name": "multiply", "arguments": {"a": 6, "b": None}}
    answer = {"role": "assistant", "content": None, "tool_calls": [call]}

    for user, arguments in ((USER | {"tool_calls": None}, {"a": 6}), (USER, {"a": 6, "b": None})):
        assert parse(user, answer).messages[1]["tool_calls"][0]["function"]["arguments"] == arguments


def test_a_call_may_be_bare_or_in_the_old_function_call():
    bare = {"name": "multiply", "arguments": {"a": 6}}
    expected = [{"type": "function", "function": bare}]

    assert parse(USER, {"role": "assistant", "tool_calls": [bare]}).messages[1]["tool_calls"] == expected
    assert parse(USER, {"role": "assistant", "function_call": bare}).messages[1]["tool_calls"] == expected


@pytest.mark.parametrize(("content", "is_null"), [(None, True), ("", False), ([], False)])
def test_content_that_is_null_is_empty_text_that_a_template_can_tell_from_others(content: object, is_null: bool):
    message = calling({}) | {"content": content, "weight": 1}
    [_, answer] = parse(USER, message).messages
    assert (answer["content"], isinstance(answer["content"], NullText)) == ("", is_null)


def test_integers_in_arguments_keep_all_their_digits():
    message = parse(USER, calling('{"a": 123456789012345678901234567890}')).messages[1]

    assert message["tool_calls"][0]["function"]["arguments"] == {"a": 123456789012345678901234567890}


@pytest.mark.parametrize("big", [123456789012345678901234567890, 2**64, -(2**63) - 1])
def test_integers_keep_their_digits_where_the_decoder_rounds_them(big: int):
    """orjson makes floats of integers beyond 64 bits; the row is then decoded again."""
    limit = {"name": "f", "parameters": {"properties": {"a": {"type": "integer", "maximum": big}}}}
    text = json.dumps({"messages": [USER, calling({"a": [big]})], "tools": [limit]})

    conversation = parse_row(orjson.loads(text), exact=lambda: json.loads(text))

    assert conversation.messages[1]["tool_calls"][0]["function"]["arguments"] == {"a": [big]}
    assert conversation.tools == [limit]


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [USER, calling({"first": "a", "big": 2**64, "last": "b"})]},
        {"messages": [USER, ASSISTANT], "tools": [{"name": "f", "description": "d", "maximum": 2**64, "title": "t"}]},
    ],
)
def test_a_large_integer_is_found_among_texts(row: dict):
    text = json.dumps(row)
    read = parse_row(orjson.loads(text), exact=lambda: json.loads(text))
    assert str(2**64) in json.dumps([read.messages, read.tools])


def test_rows_with_the_same_tools_share_them():
    def read(row: dict):
        return parse_row(row, exact=lambda: row)

    row = {"messages": [USER, calling({"a": 1})], "tools": [TOOL]}
    tools = read(row).tools
    assert read(orjson.loads(orjson.dumps(row))).tools is tools == [TOOL]
    assert parse_row(orjson.loads(orjson.dumps(row))).tools is tools  # of a table
    filled = {**row, "tools": [{**TOOL, "function": {**TOOL["function"], "description": None}}]}
    assert read(filled).tools is tools


def test_a_value_of_a_table_is_not_taken_for_its_text_in_a_row_before():
    at = datetime.datetime(2026, 1, 1)
    text, table = ({"messages": [USER, ASSISTANT], "tools": [{"name": "f", "at": it}]} for it in (at.isoformat(), at))
    assert parse_row(text, exact=lambda: text).tools == text["tools"]
    with pytest.raises(RowError, match="datetime"):
        parse_row(table)


def test_a_row_is_decoded_again_only_when_it_has_to_be():
    def refuse():
        raise AssertionError("decoded again")

    parse_row({"messages": [USER, calling({"a": 1.5, "b": 2**64 - 1})], "tools": [TOOL]}, exact=refuse)


def test_what_else_fails_when_a_row_is_read_again_is_no_fault_of_the_row():
    def fail():
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="disk"):
        parse_row({"messages": [USER, calling({"a": float(2**64)})]}, exact=fail)


def test_a_number_that_cannot_be_kept_is_refused():
    text = json.dumps({"messages": [USER, calling({"a": 0})]}).replace('{"a": 0}', '{"a": ' + "9" * 5000 + "}")

    with pytest.raises(RowError, match="bad_tool_arguments"):
        parse_row({"messages": [USER, calling({"a": 1e300})]}, exact=lambda: json.loads(text))


@pytest.mark.parametrize("tools", [[TOOL], json.dumps([TOOL])])
def test_tools_are_a_list_or_its_json(tools: object):
    assert parse(USER, ASSISTANT, tools=tools).tools == [TOOL]


@pytest.mark.parametrize("tools", [None, [], "[]", "null"])
def test_a_row_may_have_no_tools(tools: object):
    assert parse(USER, ASSISTANT, tools=tools).tools is None


def test_fields_may_have_other_names():
    row = {"conversation": [USER, ASSISTANT], "functions": [TOOL]}

    conversation = parse_row(row, messages_field="conversation", tools_field="functions")

    assert (conversation.messages, conversation.tools) == ([USER, ASSISTANT], [TOOL])


@pytest.mark.parametrize("flag", [{"train": False}, {"weight": 0}, {"weight": 0.0}])
def test_a_message_may_be_context_only(flag: dict):
    messages = parse(USER, ASSISTANT | flag, USER, ASSISTANT | {"train": True, "weight": 1}).messages

    assert messages == [USER, ASSISTANT | {"train": False}, USER, ASSISTANT]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("hello", "not_an_object"),
        ([USER, ASSISTANT], "not_an_object"),
        (None, "not_an_object"),
        ({}, "no_messages"),
        ({"chat": [USER, ASSISTANT]}, "no_messages"),
        ({"messages": []}, "no_messages"),
        ({"messages": None}, "no_messages"),
        ({"messages": "hello"}, "no_messages"),
        ({"messages": [USER, "42"]}, "bad_message"),
        ({"messages": [USER, {"content": "42"}]}, "bad_role"),
        ({"messages": [USER, {"role": "critic", "content": "42"}]}, "bad_role"),
        ({"messages": [USER, {"role": ["assistant"], "content": "42"}]}, "bad_role"),
        ({"messages": [USER, {"role": "assistant", "content": 42}]}, "bad_content"),
        ({"messages": [{"role": "user", "content": {"text": "hi"}}, ASSISTANT]}, "bad_content"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}, ASSISTANT]}, "bad_content"),
        ({"messages": [{"role": "user", "content": [None]}, ASSISTANT]}, "bad_content"),
        ({"messages": [{"role": "user", "text": "hi"}, ASSISTANT]}, "bad_content"),
        ({"messages": [USER, {"role": "assistant", "text": "42", "train": False}]}, "bad_content"),
        ({"messages": [USER, ASSISTANT | {"reasoning_content": 1}]}, "bad_content"),
        ({"messages": [USER, ASSISTANT | {"tool_calls": {}}]}, "bad_tool_calls"),
        ({"messages": [USER, ASSISTANT | {"tool_calls": ["multiply"]}]}, "bad_tool_calls"),
        ({"messages": [USER, ASSISTANT | {"tool_calls": [{"function": "multiply"}]}]}, "bad_tool_calls"),
        ({"messages": [USER, ASSISTANT | {"tool_calls": [{"function": {"name": ""}}]}]}, "bad_tool_calls"),
        ({"messages": [USER, calling('{"a": 6')]}, "bad_tool_arguments"),
        ({"messages": [USER, calling("[6, 7]")]}, "bad_tool_arguments"),
        ({"messages": [USER, calling(6)]}, "bad_tool_arguments"),
        ({"messages": [USER, calling('{"a": NaN}')]}, "bad_tool_arguments"),
        ({"messages": [USER, calling('{"a": 1e999}')]}, "bad_tool_arguments"),
        ({"messages": [USER, calling('{"a": "\\ud83d"}')]}, "bad_tool_arguments"),
        ({"messages": [USER, calling('{"a": ' + "[" * 100_000)]}, "bad_tool_arguments"),
        ({"messages": [USER, ASSISTANT], "tools": {}}, "bad_tools"),
        ({"messages": [USER, ASSISTANT], "tools": "[{"}, "bad_tools"),
        ({"messages": [USER, ASSISTANT], "tools": ["multiply"]}, "bad_tools"),
        ({"messages": [USER, ASSISTANT], "tools": [{"type": "function", "function": None}]}, "bad_tools"),
        ({"messages": [USER, ASSISTANT], "tools": [{"type": "web_search"}]}, "bad_tools"),
        ({"messages": [USER, ASSISTANT | {"train": "no"}]}, "bad_train_flag"),
        ({"messages": [USER, ASSISTANT | {"weight": 0.5}]}, "bad_train_flag"),
        ({"messages": [USER]}, "no_assistant_turn"),
        ({"messages": [USER, ASSISTANT | {"weight": 0}]}, "no_trained_turn"),
    ],
)  # fmt: skip
def test_why_a_row_is_dropped(row: object, reason: str):
    with pytest.raises(RowError) as caught:
        parse_row(row)

    assert caught.value.reason == DropReason(reason)
    assert caught.value.detail


def test_a_row_that_is_nested_too_deeply_costs_itself_alone():
    deep: dict = {}
    for _ in range(100_000):
        deep = {"a": deep}
    with pytest.raises(RowError, match="nested") as caught:
        parse(USER | {"tool_calls": None}, calling(deep))  # of a table, whose nulls are taken out
    assert caught.value.reason == DropReason.BAD_MESSAGE


def test_the_same_tools_may_be_given_twice():
    assert parse(USER, ASSISTANT, tools=[TOOL], functions=[TOOL["function"]]).tools == [TOOL]
    with pytest.raises(RowError, match=r'bad_tools.*"tools" and "functions"'):
        parse(USER, ASSISTANT, tools=[TOOL], functions=[TOOL["function"] | {"description": "Another."}])


def test_the_detail_names_the_message_at_fault():
    with pytest.raises(RowError, match=r'message 1: .*"critic"'):
        parse(USER, {"role": "critic", "content": "Wrong."})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
roughly_messages = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool", "critic"]) | json_values},
    optional={
        "content": json_values,
        "reasoning_content": json_values,
        "tool_calls": json_values | st.lists(st.fixed_dictionaries({"function": json_values, "name": json_values})),
        "train": json_values,
        "weight": json_values,
    },
)


@given(st.fixed_dictionaries({"messages": st.lists(roughly_messages | json_values, max_size=4), "tools": json_values}))
def test_any_row_is_parsed_or_dropped_for_a_reason(row: dict):
    try:
        conversation = parse_row(row)
    except RowError:
        return  # never another exception
    assert {message["role"] for message in conversation.messages} <= {"system", "user", "assistant", "tool"}
    assert all(isinstance(message["content"], str) for message in conversation.messages)


def test_every_reason_says_what_it_means():
    assert all(len(reason.description) > 10 for reason in DropReason)


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (["Paris", "Röm"], '["Paris", "Röm"]'),
        ([{"type": "text", "text": "a"}, 5], '[{"type": "text", "text": "a"}, 5]'),
        ([], "[]"),
        ({"ok": True}, '{"ok": true}'),
        (3, "3"),
        ("plain", "plain"),
        (None, ""),
    ],
)
def test_a_tool_result_given_as_data_is_shown_as_json(content: object, shown: str):
    conversation = parse(USER, ASSISTANT, {"role": "tool", "content": content}, ASSISTANT)
    assert conversation.messages[2]["content"] == shown


def test_empty_text_in_place_of_tools_and_calls_means_none():
    conversation = parse_row({"messages": [USER, ASSISTANT | {"tool_calls": "", "function_call": ""}], "tools": " "})
    assert conversation.tools is None
    assert "tool_calls" not in conversation.messages[1]


@pytest.mark.parametrize(("value", "is_unused"), [("on", False), ("OFF", False), ("He thinks aloud.", True), (1, True)])
def test_a_switch_for_reasoning_is_no_reasoning(value: object, is_unused: bool):
    """What a row calls its reasoning is a text that would be lost; `on` and `off` say that there is some."""
    for field in ({"reasoning": value}, {"metadata": {"reasoning": value}}):
        notes = [note.name for note in parse(USER, ASSISTANT, **field).notes]
        assert bool(notes) is is_unused
    assert [note.name for note in parse(USER, ASSISTANT, light=value).notes] == ["light"]


@pytest.mark.parametrize("name", [5, None, "", " ", ["f"]])
def test_names_of_tools_are_text(name: object):
    with pytest.raises(RowError, match=r"bad_tools.*\[1\] names no function"):
        parse(USER, ASSISTANT, tools=[TOOL, {"name": name}])


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        ({"parameters": {"a": 1}, "inputSchema": {"a": 2}}, "differ under"),
        ({"input_schema": [1]}, "are a list, not an object: [1]"),
    ],
)
def test_schemas_of_a_tool_that_cannot_be_meant_are_refused(function: dict, problem: str):
    with pytest.raises(RowError) as caught:
        parse(USER, ASSISTANT, tools=[{"name": "f", **function}])
    assert caught.value.reason is DropReason.BAD_TOOLS
    assert problem in caught.value.detail


@pytest.mark.parametrize("schema", [{"type": "object"}, '{"type": "object"}'])
def test_the_schema_of_a_tool_keeps_its_place_and_its_wrapper(schema: object):
    function = {"name": "f", "input_schema": schema, "strict": True}
    read = {"name": "f", "parameters": {"type": "object"}, "strict": True}
    assert parse(USER, ASSISTANT, tools=[function]).tools == [read]
    wrapped = [{"type": "function", "function": function}]
    assert parse(USER, ASSISTANT, tools=wrapped).tools == [{"type": "function", "function": read}]


def test_a_null_function_of_a_table_is_no_wrapper():
    """A table with bare and wrapped tools has the column in every row."""
    bare = {"name": "f", "function": None, "description": "d"}
    assert parse(USER, ASSISTANT, tools=[bare]).tools == [{"name": "f", "description": "d"}]


def test_arguments_of_a_call_that_are_given_twice_have_to_agree():
    def call(**wrapper: object):
        function = {"name": "multiply", "arguments": {"a": 1}}
        return {"role": "assistant", "content": "", "tool_calls": [{"function": function, **wrapper}]}

    [again] = parse(USER, call(arguments={"a": 1})).messages[1]["tool_calls"]
    assert again["function"]["arguments"] == {"a": 1}
    for other in ({"arguments": {"a": 2}}, {"parameters": {"a": 2}}, {"input": {"a": 2}}):
        with pytest.raises(RowError) as caught:
            parse(USER, call(**other))
        assert caught.value.reason is DropReason.BAD_TOOL_ARGUMENTS
    notes = parse(USER, call(unheard_of="of")).notes
    assert [note.name for note in notes] == ["tool_calls[].unheard_of"]


def test_a_tool_result_that_json_has_no_form_for_costs_its_row():
    """Also of Parquet, whose dates and bytes are no JSON."""
    result = {"type": "tool_result", "tool_use_id": "c0", "content": {"at": b"bytes"}}
    with pytest.raises(RowError) as caught:
        parse(USER, calling({}), {"role": "user", "content": [result]}, ASSISTANT)
    assert caught.value.reason is DropReason.BAD_CONTENT
    with pytest.raises(RowError, match="no form"):
        parse(USER, calling({}), {"role": "tool", "content": {"measured": float("nan")}}, ASSISTANT)


def test_a_part_that_is_no_text_where_only_text_can_be_costs_its_row():
    call = {"type": "tool_use", "id": "c", "name": "f", "input": {}}
    with pytest.raises(RowError) as caught:
        parse({"role": "system", "content": [{"type": "text", "text": "a"}, call]}, USER, ASSISTANT)
    assert caught.value.reason is DropReason.BAD_CONTENT
    assert "a content part that is a call, not text" in caught.value.detail


def test_what_else_a_part_of_text_says_is_noted():
    notes = parse({"role": "user", "content": [{"type": "text", "text": "Hi", "footnote": "x"}]}, ASSISTANT).notes
    assert [note.name for note in notes] == ["content[].footnote"]


@pytest.mark.parametrize("name", ["id", "index", "cache_control", "annotations", "citations", "extras"])
def test_what_an_api_says_of_a_part_of_text_needs_no_note(name: str):
    assert parse({"role": "user", "content": [{"type": "text", "text": "Hi", name: "x"}]}, ASSISTANT).notes == ()


CALL = {"type": "function", "function": {"name": "f", "arguments": {"a": 1}}}
OTHER_CALL = {"type": "function", "function": {"name": "f", "arguments": {"a": 2}}}


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([USER | {"data": {"content": "no"}}, ASSISTANT], [USER, ASSISTANT]),  # not LangChain's
        ([{"type": "human", "data": {"content": "Hi"}}, ASSISTANT], [{"role": "user", "content": "Hi"}, ASSISTANT]),
        ([USER | {"images": []}, ASSISTANT | {"image": None}], [USER, ASSISTANT]),
        ([USER | {"images": " "}, ASSISTANT | {"refusal": " "}], [USER, ASSISTANT]),
        ([USER | {"value": USER["content"]}, ASSISTANT | {"value": ""}], [USER, ASSISTANT]),  # the same text twice
        ([USER, {"role": "assistant", "refusal": "No."}], [USER, ASSISTANT | {"content": "No."}]),
        ([USER, ASSISTANT | {"function_call": {}}], [USER, ASSISTANT]),
        ([USER, ASSISTANT | {"function_call": " "}], [USER, ASSISTANT]),
        (
            [USER, {"role": "tool_call", "content": '{"name": "f", "arguments": {"a": 1}}'}],
            [USER, {"role": "assistant", "content": "", "tool_calls": [CALL]}],
        ),
        (
            [USER, {"role": "tool_call", "content": "So.", "tool_calls": [CALL]}],
            [USER, {"role": "assistant", "content": "So.", "tool_calls": [CALL]}],
        ),
        (
            [{"role": "function_call", "content": '{"name": "f", "arguments": {"a": 1}}'}, USER, ASSISTANT],
            [{"role": "assistant", "content": "", "tool_calls": [CALL]}, USER, ASSISTANT],
        ),
        (
            [USER, ASSISTANT | {"tool_calls": [CALL], "function_call": CALL["function"]}],
            [USER, ASSISTANT | {"tool_calls": [CALL]}],
        ),
        (
            [USER, ASSISTANT | {"content": ""}, {"role": "tool_call", **THOUGHT, "content": "", "tool_calls": [CALL]}],
            [USER, ASSISTANT | {"content": ""} | THOUGHT | {"tool_calls": [CALL]}],
        ),
        (
            [USER, ASSISTANT | {"tool_calls": [json.dumps(CALL)]}],
            [USER, ASSISTANT | {"tool_calls": [CALL]}],
        ),
        (
            [USER, ASSISTANT, {"role": "tool_call", "content": "", "tool_calls": [CALL]}],
            [USER, ASSISTANT | {"tool_calls": [CALL]}],
        ),
        (
            [
                USER,
                ASSISTANT | {"content": ""},
                {"role": "tool_call", "content": "<think>So.</think>", "tool_calls": [CALL]},
            ],
            [USER, ASSISTANT | {"content": "<think>So.</think>", "tool_calls": [CALL]}],
        ),
    ],
)
def test_what_is_empty_or_said_twice_changes_nothing(messages: list[dict], expected: list[dict]):
    assert parse(*messages).messages == expected


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([USER | {"value": "Something else"}, ASSISTANT], "ambiguous"),
        ([USER, ASSISTANT | {"tool_calls": [CALL], "function_call": OTHER_CALL["function"]}], "ambiguous"),
        ([USER, {"role": "tool_call", "content": "<think>So."}], "bad_tool_calls"),
        ([USER, ASSISTANT, {"role": "tool_call", "content": "So.", "tool_calls": [CALL]}], "bad_content"),
        ([USER, ASSISTANT, {"role": "tool_call", "content": "", **THOUGHT, "tool_calls": [CALL]}], "bad_content"),
        (
            [
                USER,
                ASSISTANT | {"content": ""} | THOUGHT,
                {"role": "tool_call", "content": "So.", "tool_calls": [CALL]},
            ],
            "bad_content",
        ),
        (
            [USER, ASSISTANT | {"train": False}, {"role": "tool_call", "content": "", "tool_calls": [CALL]}],
            "bad_train_flag",
        ),
        ([USER | {"images": ["a.png"]}, ASSISTANT], "media"),
    ],
)
def test_what_contradicts_itself_or_is_no_text_costs_its_row(messages: list[dict], reason: str):
    with pytest.raises(RowError) as caught:
        parse(*messages)
    assert caught.value.reason == DropReason(reason)


@pytest.mark.parametrize(
    ("text", "noted"),
    [
        ('<tool_call>\n{"name": "f"}', True),
        ("<tool_call>[]", True),
        ('<tool_call>{"name": "f"}</tool_call> and a <tool_call> without one', True),
        ("The tag <tool_call> begins a call.", False),
        ('{"name": "f"}', False),
    ],
)
def test_a_call_that_was_written_as_text_is_noted(text: str, noted: bool):
    notes = [note.kind for note in parse(USER, {"role": "assistant", "content": text}).notes]
    assert (NoteKind.CALL_IN_TEXT in notes) is noted


@pytest.mark.parametrize(
    ("row", "unused"),
    [
        ({"metadata": {"messages": [1], "note": "x", "tools": []}}, ["metadata.messages"]),
        ({"metadata": {"reasoning": "on"}}, []),
        ({"metadata": {"reasoning": "So it is."}}, ["metadata.reasoning"]),
        ({"metadata": "a text", "reasoning": "off", "chosen": None, "images": []}, []),
        ({"metadata": {"messages": " "}, "chosen": " ", "images": "\n", "extra": " "}, []),
        ({"extra": "x", "other": "", "id": 5, "chosen": 7, "rejected": "", "image": 3}, ["chosen", "extra", "image"]),
        ({"label": True}, ["label"]),
    ],
)
def test_fields_of_a_row_that_nobody_reads_are_noted(row: dict, unused: list[str]):
    notes = parse(USER, ASSISTANT, **row).notes
    assert sorted(note.name for note in notes if note.kind == NoteKind.UNUSED_ROW_FIELD) == unused


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"chosen": "x"}, "preference_data"),
        ({"rejected": [1]}, "preference_data"),
        ({"label": False}, "preference_data"),
        ({"video": "x.mp4"}, "media"),
        ({"images": [{}]}, "media"),
    ],
)
def test_a_row_for_something_else_than_fine_tuning_on_text_is_dropped(row: dict, reason: str):
    with pytest.raises(RowError) as caught:
        parse(USER, ASSISTANT, **row)
    assert caught.value.reason == DropReason(reason)


@pytest.mark.parametrize(
    ("fields", "first"),
    [
        ({"system": "Be brief.", "system_prompt": " Be brief.\n"}, {"role": "system", "content": "Be brief."}),
        ({"system": "", "system_message": None}, USER),
        ({"system": [{"type": "text", "text": ""}]}, USER),
    ],
)
def test_a_system_prompt_of_the_row_comes_first(fields: dict, first: dict):
    assert parse(USER, ASSISTANT, **fields).messages[0] == first


def test_a_system_prompt_of_the_row_fills_an_empty_one_and_may_repeat_another():
    empty, said = {"role": "system", "content": " "}, {"role": "system", "content": "Be brief."}
    assert parse(empty, USER, ASSISTANT, system="Be brief.").messages == [said, USER, ASSISTANT]
    assert parse(said, USER, ASSISTANT, system="Be brief. ").messages == [said, USER, ASSISTANT]
    for contradicting in ({"system": "Be long."}, {"system": "Be brief.", "system_prompt": "Be long."}):
        with pytest.raises(RowError, match="two system prompts"):
            parse(said, USER, ASSISTANT, **contradicting)
