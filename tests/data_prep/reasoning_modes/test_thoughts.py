"""Thoughts that are removed or cut, in their own field or inline; a token here is a character."""

import pytest

from nemotron.data_prep.chat.conversation import Conversation
from nemotron.data_prep.chat.reasoning import ANSWER_ONLY
from nemotron.data_prep.reasoning_modes.thoughts import cut_thoughts, remove_reasoning

CALLING = {"tool_calls": []}
"""With calls, a thought may lack its opening or its closing tag."""


class Characters:
    def cut(self, text: str, tail: str, most: int) -> str | None:
        return None if len(text + tail) <= most else text[: max(0, most - len(tail))]


def cut(message: dict, budget: int) -> dict | None:
    """The message with its thought cut to so many characters; None if it stays as it is."""
    conversation = Conversation([{"role": "assistant", **message}], None)
    changed, cuts = cut_thoughts(conversation, budget, Characters(), answer_only=False)
    if not cuts:
        assert changed.messages == conversation.messages
        return None
    return {key: value for key, value in changed.messages[0].items() if key != "role"}


@pytest.mark.parametrize(
    ("opening", "newline"), [("<think>", ""), ("<think>\n", "\n"), ("", ""), ("\n", "\n"), ("\n<think>", "\n")]
)
@pytest.mark.parametrize("budget", [4, 5, 6, 7, 8])
def test_what_is_between_the_tags_is_within_the_budget_newlines_included(opening: str, newline: str, budget: int):
    content = f"{opening}abcdef{newline}</think>\n\nYes."
    inside = content.partition("</think>")[0].partition("<think>")[2] or f"{opening}abcdef{newline}"
    changed = cut({"content": content, **CALLING}, budget)
    if len(inside) <= budget:
        assert changed is None
    else:
        assert changed is not None
        kept = changed["content"].partition("</think>")[0].removeprefix(opening).removesuffix(newline)
        assert "abcdef".startswith(kept)
        assert changed["content"] == f"{opening}{kept}{newline}</think>\n\nYes."
        assert len(inside) - len("abcdef") + len(kept) == budget


@pytest.mark.parametrize(("budget", "left"), [(8, None), (7, "abcde"), (3, "a")])
def test_a_thought_of_its_own_field_has_the_newlines_that_the_template_adds(budget: int, left: str | None):
    changed = cut({"content": "Yes.", "reasoning_content": "abcdef"}, budget)
    assert changed == (left and {"content": "Yes.", "reasoning_content": left})


@pytest.mark.parametrize("content", ["Yes.", "<think>never closed", "See: <think>abcdef</think>"])
def test_what_is_no_thought_before_an_answer_is_not_cut(content: str):
    assert cut({"content": content}, 3) is None


def test_a_cut_thought_may_be_left_unsupervised():
    thoughts = [{"role": "assistant", "content": "Yes.", "reasoning_content": thought} for thought in ("abcdef", "a")]
    changed, cuts = cut_thoughts(Conversation(thoughts, None), 5, Characters(), answer_only=True)
    assert cuts == 1
    assert [message.get(ANSWER_ONLY) for message in changed.messages] == [True, None]


@pytest.mark.parametrize(
    ("message", "content"),
    [
        ({"content": "Yes.", "reasoning_content": "abc"}, "Yes."),
        ({"content": "<think>abc</think>\n\nYes."}, "Yes."),
        ({"content": "abc</think>Yes.", **CALLING}, "Yes."),
        ({"content": "Yes. <think>abc", **CALLING}, "Yes. "),
        ({"content": "Yes."}, "Yes."),
    ],
)
def test_a_removed_thought_leaves_the_answer(message: dict, content: str):
    [left] = remove_reasoning(Conversation([{"role": "assistant", **message}], None)).messages
    assert left["content"] == content
    assert "reasoning_content" not in left


@pytest.mark.parametrize("blank", ["\n", " ", ""])
def test_a_blank_field_does_not_hide_a_thought_in_the_content(blank: str):
    changed = cut({"reasoning_content": blank, "content": "<think>abcdef</think>\n\nYes."}, 4)
    assert changed == {"reasoning_content": blank, "content": "<think>abcd</think>\n\nYes."}
