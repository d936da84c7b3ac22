"""Which conversations count as the same: those of which a model sees, and learns, the same."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nemotron.data_prep.chunks import sequences
from nemotron.data_prep.conversation import Conversation, parse_row
from nemotron.data_prep.identity import content_hash
from nemotron.data_prep.template import load_template

NEMOTRON3 = load_template("nemotron3")
USER = {"role": "user", "content": "6 * 7?"}
ASSISTANT = {"role": "assistant", "content": "42"}
TOOL = {"type": "function", "function": {"name": "multiply", "parameters": {"type": "object", "properties": {}}}}


def parse(*messages: dict, **row: object) -> Conversation:
    return parse_row({"messages": list(messages), **row})


def calling(arguments: object) -> dict:
    call = {"id": "1", "type": "function", "function": {"name": "multiply", "arguments": arguments}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def test_the_hash_is_of_the_content_not_of_its_spelling():
    one = parse({"role": "user", "content": "6 * 7?"}, calling({"a": 6, "b": 7}), tools=[TOOL])
    other = parse({"content": ["6 * ", "7?"], "role": "user", "time": 3}, calling('{"b": 7, "a": 6}'), tools=[TOOL])

    assert content_hash(one) == content_hash(other)
    assert len(content_hash(one)) == 16


def test_the_ids_of_tool_calls_are_no_content():
    def called(number: int):
        call = {"id": f"call_{number}", "function": {"name": "multiply", "arguments": {}}}
        result = {"role": "tool", "tool_call_id": f"call_{number}", "content": "42"}
        return parse(USER, ASSISTANT | {"tool_calls": [call]}, result, ASSISTANT)

    assert content_hash(called(1)) == content_hash(called(2))


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "system", "content": ""}, USER, ASSISTANT],
        [USER | {"name": "bob"}, ASSISTANT],
        [USER, ASSISTANT | {"content": "42\n"}],
        [USER, ASSISTANT | {"content": "<think></think>42"}],
        [USER, ASSISTANT | {"train": True, "weight": 1}],
    ],
)
def test_what_a_model_never_sees_is_no_content(messages: list[dict]):
    assert content_hash(parse(*messages)) == content_hash(parse(USER, ASSISTANT))


TURNS = st.builds(
    lambda user, answer: [{"role": "user", "content": user}, {"role": "assistant", **answer}],
    st.sampled_from(["Hi", "Hi "]),
    st.fixed_dictionaries(
        {"content": st.sampled_from(["a", "a\n", "<think></think>a", "<think>\nr\n</think>\na", ""])},
        optional={
            "reasoning_content": st.sampled_from(["", " ", "r", "r\n"]),
            "train": st.booleans(),
            "tool_calls": st.just([{"function": {"name": "f", "arguments": {}}}]),
        },
    ),
)
CONVERSATIONS = st.builds(
    lambda system, turns: [*system, *(message for turn in turns for message in turn)],
    st.sampled_from([[], [{"role": "system", "content": ""}], [{"role": "system", "content": "s"}]]),
    st.lists(TURNS, min_size=1, max_size=2),
)


@settings(max_examples=400)
@given(CONVERSATIONS, CONVERSATIONS)
def test_the_hash_is_equal_exactly_where_the_training_sequences_are(one: list[dict], other: list[dict]):
    trained = [message for messages in (one, other) for message in messages if message.get("train") is False]
    if trained:  # not every conversation is left with something to learn
        one, other = ([m | {"train": True} if "train" in m else m for m in messages] for messages in (one, other))
    first, second = parse(*one), parse(*other)
    same = sequences(first, NEMOTRON3) == sequences(second, NEMOTRON3)
    assert (content_hash(first) == content_hash(second)) == same


@pytest.mark.parametrize(
    "changed",
    [
        {"messages": [USER, ASSISTANT | {"content": "42."}]},
        {"messages": [USER, ASSISTANT | {"reasoning_content": "6 * 7"}]},
        {"messages": [USER, ASSISTANT, USER]},
        {"messages": [USER, ASSISTANT], "tools": [TOOL]},
    ],
)
def test_the_hash_differs_when_the_content_does(changed: dict):
    assert content_hash(parse_row(changed)) != content_hash(parse(USER, ASSISTANT))


def test_any_conversation_has_a_hash():
    deep = "[" * 300 + "]" * 300
    assert content_hash(parse(USER, calling(f'{{"a": 123456789012345678901234567890, "b": {deep}}}')))
