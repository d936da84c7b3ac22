import pytest

from nemotron.data_prep.chat.reasoning import (
    Turn,
    has_reasoning,
    history_content,
    last_user_index,
    newest_content,
    turns_to_train,
)

SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "Why?"}
ANSWER = {"role": "assistant", "content": "Because."}
REASONED = ANSWER | {"reasoning_content": "Let me think."}
INLINE = {"role": "assistant", "content": "<think>Let me think.</think>Because."}
CALL = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}
TOOL = {"role": "tool", "content": "ok"}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (ANSWER, False),
        (REASONED, True),
        (INLINE, True),
        (ANSWER | {"reasoning_content": "\n\n"}, True),  # blank, but the public recipe counts it
        ({"role": "assistant", "content": "<think></think>Because."}, False),
        ({"role": "assistant", "content": "<think>\n\n</think>\n\nBecause."}, False),
        ({"role": "assistant", "content": "The tag <think> opens a thought."}, False),
        ({"role": "assistant", "content": "Let me think.</think>Because."}, False),  # kept in the history as it is
        (CALL | {"content": "Let me think.</think>Because."}, True),
        (CALL | {"content": "Because.<think>Let me"}, True),
        (CALL, False),
        ({"role": "user", "content": INLINE["content"]}, False),
    ],
)
def test_messages_with_reasoning_are_recognized(message: dict, expected: bool):
    assert has_reasoning(message) is expected


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (ANSWER, "<think></think>Because."),
        (REASONED, "<think>\nLet me think.\n</think>\nBecause."),
        (ANSWER | {"reasoning_content": " \n"}, "<think></think>Because."),
        (INLINE, "<think>Let me think.</think>Because."),
        (
            REASONED | {"content": "<think>More.</think>So."},
            "<think>\nLet me think.\n</think>\n<think>More.</think>So.",
        ),
        ({"role": "assistant", "content": "half a thought</think>So."}, "half a thought</think>So."),
    ],
)
def test_the_newest_turn_shows_its_reasoning(message: dict, expected: str):
    assert newest_content(message) == expected


@pytest.mark.parametrize(
    ("content", "without_calls", "with_calls"),
    [
        ("<think></think> So. ", "<think></think> So.", "<think></think>So."),
        ("<think>\nHm.\n</think>\nSo.", "<think></think>\nSo.", "<think></think>So."),
        ("<think>a</think>b<think>c</think>d", "<think></think>d", "<think></think>d"),
        ("Hm.</think>So.", "Hm.</think>So.", "<think></think>So."),
        ("So.<think>Hm.", "So.<think>Hm.", "<think></think>So."),
    ],
)
def test_the_history_shows_none(content: str, without_calls: str, with_calls: str):
    assert history_content(content, calls_tools=False) == without_calls
    assert history_content(content, calls_tools=True) == with_calls


def test_without_reasoning_all_turns_train_together():
    assert turns_to_train([SYSTEM, USER, ANSWER, USER, ANSWER]) == [Turn(0, 5)]


def test_with_reasoning_each_answered_user_turn_trains_alone():
    messages = [SYSTEM, USER, REASONED, USER, USER, CALL, TOOL, ANSWER, USER]

    assert turns_to_train(messages) == [Turn(2, 3), Turn(5, 8)]


def test_reasoning_kept_in_the_history_lets_all_turns_train_together():
    assert turns_to_train([USER, REASONED, USER, REASONED], keep_history_thinking=True) == [Turn(0, 4)]


@pytest.mark.parametrize("messages", [[SYSTEM, REASONED], [SYSTEM, REASONED, USER]])
def test_reasoning_before_any_user_turn_still_trains(messages: list[dict]):
    assert turns_to_train(messages) == [Turn(0, 2)]


@pytest.mark.parametrize(
    ("roles", "last"), [("u", 0), ("ua", 0), ("uau", 2), ("uua", 1), ("auaa", 1), ("aua", 1), ("a", -1), ("", -1)]
)
def test_what_comes_before_the_last_user_is_history(roles: str, last: int):
    names = {"u": "user", "a": "assistant"}
    messages = [{"role": names[role], "content": ""} for role in roles]
    assert last_user_index([*messages, {"role": "user", "content": "later"}], len(roles)) == last
