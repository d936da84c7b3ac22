"""Replies as servers write them: with and without a reasoning parser, cut off, refused, and no completion at all."""

from typing import Any

import pytest

from nemotron.rollouts.reply import NotACompletion, Outcome, read_reply


def reply(finish: str | None = "stop", usage: object = None, **message: Any):
    return read_reply({"model": "tiny", "choices": [{"message": message, "finish_reason": finish}], "usage": usage})


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"choices": []},
        {"choices": [None]},
        {"choices": [{"message": None}]},
        {"choices": [{"message": {"content": [{"type": "text", "text": "Hi"}]}}]},
    ],
)
def test_what_has_no_text_of_a_choice_is_no_completion(body: object):
    with pytest.raises(NotACompletion, match=r"choices\[0\]\.message"):
        read_reply(body)


@pytest.mark.parametrize(
    ("message", "thought", "content"),
    [
        ({"content": "Yes.", "reasoning_content": "\nwhy\n"}, "why", "Yes."),
        ({"content": "\n\nYes.\n", "reasoning": "why"}, "why", "Yes."),
        ({"content": "why\n</think>\n\nYes."}, "why", "Yes."),
        ({"content": "<think>\nwhy</think>Yes."}, "why", "Yes."),
        ({"content": "As in </think>", "reasoning_content": "why"}, "why", "As in </think>"),
        ({"content": "\n</think>Yes.", "reasoning_content": None}, None, "Yes."),
        ({"content": "Yes."}, None, "Yes."),
    ],
)
def test_a_thought_is_told_from_the_answer(message: dict[str, Any], thought: str | None, content: str):
    read = reply(**message)
    assert (read.outcome, read.message.get("reasoning_content"), read.message["content"]) == (
        Outcome.COMPLETED, thought, content,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("finish", "message", "outcome"),
    [
        ("length", {"content": "Ye"}, Outcome.UNFINISHED),
        ("content_filter", {"content": ""}, Outcome.REFUSED),
        ("stop", {"content": None, "refusal": "I cannot."}, Outcome.REFUSED),
        ("stop", {"content": None}, Outcome.EMPTY),
        ("stop", {"content": "", "reasoning_content": "why"}, Outcome.EMPTY),
        ("tool_calls", {"content": None, "tool_calls": [{"id": "1"}]}, Outcome.COMPLETED),
        ("stop", {"content": "", "tool_calls": []}, Outcome.EMPTY),
    ],
)
def test_the_outcome_says_why_there_is_no_answer(finish: str, message: dict[str, Any], outcome: Outcome):
    assert reply(finish, **message).outcome is outcome


def test_what_the_server_counts_is_kept_and_nothing_else():
    counted = reply(
        content="Yes.", usage={"completion_tokens": 7, "completion_tokens_details": {"reasoning_tokens": 5}}
    )
    assert (counted.tokens, counted.thought_tokens) == (7, 5)
    for usage in (None, "7", {}, {"completion_tokens": "7", "completion_tokens_details": None}):
        counted = reply(content="Yes.", usage=usage)
        assert (counted.tokens, counted.thought_tokens) == (None, None)
    assert reply(content=None, refusal="I cannot.").detail == "I cannot."
