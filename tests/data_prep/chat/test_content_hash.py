"""Which conversations count as the same: those of which a model sees, and learns, the same."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from nemotron.data_prep.chat.chunks import sequences
from nemotron.data_prep.chat.content_hash import content_hash, sampling_rank
from nemotron.data_prep.chat.conversation import Conversation, share
from nemotron.data_prep.chat.template import load_template
from nemotron.data_prep.dialects.row import parse_row
from nemotron.data_prep.drop_reasons import RowError

NEMOTRON3 = load_template("nemotron3")
SYSTEM = {"role": "system", "content": "Be brief."}
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


@pytest.mark.parametrize("largest", [7, 2**64])
def test_shared_tools_have_the_hash_of_their_values(largest: int):
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"maximum": largest, "a": 1e-7}}}]
    messages = parse({"role": "user", "content": "Hi"}, calling({"b": largest, "a": "é"})).messages
    assert content_hash(Conversation(messages, tools)) == content_hash(Conversation(messages, share(tools)))
    assert content_hash(Conversation(messages, tools)) != content_hash(Conversation(messages, share([*tools, {}])))


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


@pytest.mark.parametrize("before", [[], [{"role": "system", "content": "Be brief."}]])
def test_a_blank_thought_in_the_only_turn_is_no_content_whatever_the_system_says(before: list[dict]):
    """Reasoning, even if blank, cuts a conversation at its turns; the only turn is the whole of it."""
    blank = ASSISTANT | {"reasoning_content": " "}
    assert content_hash(parse(*before, USER, blank)) == content_hash(parse(*before, USER, ASSISTANT))


def test_of_sequences_per_answer_an_unanswered_question_is_no_content():
    thoughtful = ASSISTANT | {"reasoning_content": "6 * 7 is 42."}
    question = {"role": "user", "content": "And 6 * 8?"}
    assert content_hash(parse(USER, thoughtful, question)) == content_hash(parse(USER, thoughtful))
    assert content_hash(parse(USER, thoughtful, question, thoughtful)) != content_hash(parse(USER, thoughtful))


ANSWERS = st.fixed_dictionaries(
    {
        "role": st.just("assistant"),
        "content": st.sampled_from(
            ["a", "a\n", "\na", "<think></think>a", "<think>\nr\n</think>\na", "r</think>a", "<think>a", ""]
        ),
    },
    optional={
        "reasoning_content": st.sampled_from(["", " ", "r", "r\n"]),
        "train": st.booleans(),
        "tool_calls": st.just([{"function": {"name": "f", "arguments": {}}}]),
    },
)
OTHERS = st.sampled_from(
    [{"role": "user", "content": "Hi"}, {"role": "user", "content": "Hi "}, {"role": "tool", "content": "t"},
     {"role": "system", "content": ""}, {"role": "system", "content": "s"}]
)  # fmt: skip
MESSAGES = ANSWERS | OTHERS


@st.composite
def neighbours(draw: st.DrawFn) -> tuple[list[dict], list[dict]]:
    """A conversation, and one that differs in a few messages: any two would rarely be the same."""
    one = draw(st.lists(MESSAGES, min_size=1, max_size=6))
    other = [*one]
    for _ in range(draw(st.integers(0, 3))):
        index = draw(st.integers(0, len(other) - 1))
        other[index : index + draw(st.integers(0, 1))] = draw(st.lists(MESSAGES, min_size=1, max_size=1))
    return one, other[draw(st.integers(0, 1)) :]


@settings(max_examples=300, suppress_health_check=[HealthCheck.filter_too_much])
@given(neighbours())
def test_the_hash_is_equal_exactly_where_the_training_sequences_are(pair: tuple[list[dict], list[dict]]):
    try:
        first, second = (parse(*messages) for messages in pair)
        same = sequences(first, NEMOTRON3) == sequences(second, NEMOTRON3)
    except RowError:
        reject()  # nothing to learn
    assert (content_hash(first) == content_hash(second)) == same


def test_blanks_before_an_answer_that_calls_tools_count_where_they_are_shown():
    call, blank = ASSISTANT | {"tool_calls": calling({})["tool_calls"]}, {"content": "\n 42"}
    history, newest = (USER, call, USER, ASSISTANT), (USER, ASSISTANT, USER, call)
    assert content_hash(parse(USER, call | blank, USER, ASSISTANT)) == content_hash(parse(*history))
    assert content_hash(parse(USER, ASSISTANT, USER, call | blank)) != content_hash(parse(*newest))


def test_a_thought_that_nobody_asked_for_is_content():
    one, other = ({"role": "assistant", "content": "Hi", "reasoning_content": text} for text in ("Hm.", "Oh."))
    assert content_hash(parse(one)) != content_hash(parse(other))


def test_two_empty_system_messages_are_two():
    empty = {"role": "system", "content": ""}
    assert content_hash(parse(empty, empty, USER, ASSISTANT)) != content_hash(parse(empty, USER, ASSISTANT))


def test_a_flag_counts_where_it_decides_what_is_trained():
    no = {"train": False}
    assert content_hash(parse(USER, ASSISTANT, USER, ASSISTANT | no)) == content_hash(
        parse(USER, ASSISTANT | {"train": True}, USER, ASSISTANT | no)
    )
    assert content_hash(parse(USER, ASSISTANT | no, USER, ASSISTANT)) != content_hash(
        parse(USER, ASSISTANT, USER, ASSISTANT)
    )


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


@pytest.mark.parametrize(
    ("number", "hash"), [(7, "a50205a74abefe5ca66004b790ae1d54"), (10**20, "e350ac782a45d0d83bd4c61c8250950e")]
)
def test_the_hash_is_the_same_in_every_release(number: int, hash: str):
    """Splits, samples and the choice of reasoning modes follow it; 10**20 is beyond what orjson writes."""
    answer = ASSISTANT | {"reasoning_content": "It is."}
    result = {"role": "tool", "tool_call_id": "1", "content": "42"}
    messages = [USER, calling({"a": 6, "b": number}), result, answer, USER, answer]
    assert content_hash(parse(*messages, tools=[TOOL])).hex() == hash
    assert content_hash(parse({"role": "system", "content": ""}, *messages, tools=[TOOL])).hex() == hash


@pytest.mark.parametrize(
    ("messages", "hash"),
    [
        ([USER, ASSISTANT], "cc3ce2e9eb674dbf52d51c29c9d78324"),
        (
            [{"role": "system", "content": "Be brief."}, USER, ASSISTANT, USER, ASSISTANT],
            "c8d4f5d14cf850f3b7ce191a9db08362",
        ),
        ([USER, ASSISTANT, USER, ASSISTANT | {"train": False}], "3a11a8873bf7b2a5dbab5f794f21e205"),
        ([USER, ASSISTANT, USER], "40bad3f631e8ef6fb4b86f0c3aac9456"),
        ([USER, ASSISTANT | {"content": "é"}, calling({"b": 10**20})], "fb94f41b525e675e1b88248e3f20ede7"),
    ],
)
def test_the_hash_of_plain_conversations_is_the_same_in_every_release(messages: list[dict], hash: str):
    assert content_hash(parse(*messages)).hex() == hash


def test_any_conversation_has_a_hash():
    assert content_hash(parse({"role": "system", "content": ""}, ASSISTANT))
    deep = "[" * 300 + "]" * 300
    assert content_hash(parse(USER, calling(f'{{"a": 123456789012345678901234567890, "b": {deep}}}')))


def test_a_seed_takes_the_same_sample_in_every_release():
    """Of two copies of one conversation, and of another."""
    ranks = sampling_rank(np.array([1, 1, 2], np.uint64), seed=42, occurrence=np.array([0, 1, 0]))

    assert ranks.tolist() == [11_715_766_972_158_509_510, 12_636_300_244_247_861_673, 15_842_193_842_772_344_867]
