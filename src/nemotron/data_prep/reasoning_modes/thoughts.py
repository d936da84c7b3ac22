"""Remove or cut the thoughts of a conversation.

A thought is in its own field, or inline between think tags.
"""

from dataclasses import replace
from typing import NamedTuple, Protocol

from nemotron.data_prep.chat.conversation import Conversation, Message
from nemotron.data_prep.chat.reasoning import ANSWER_ONLY, END_THINK, THINK, has_reasoning


class TokenBorders(Protocol):
    """Where the tokens of a text end."""

    def cut(self, text: str, tail: str, most: int) -> str | None:
        """Return the longest beginning of `text` that fits `most` tokens with `tail`.

        None means that all of it fits.
        """
        ...


def remove_reasoning(conversation: Conversation) -> Conversation:
    """Return the conversation without the assistant's thoughts."""
    return replace(conversation, messages=[_remove_thought(message) for message in conversation.messages])


def cut_thoughts(
    conversation: Conversation, budget: int, borders: TokenBorders, *, answer_only: bool
) -> tuple[Conversation, int]:
    """Cut every thought to a budget, and count the cuts.

    The text after a thought does not change. The budget counts every token between the think tags, including newlines.

    Args:
        conversation: A normalised conversation.
        budget: The most tokens of a thought.
        borders: Where the tokens end.
        answer_only: Do not supervise the cut thoughts.
    """
    messages, cuts = [], 0
    for message in conversation.messages:
        cut = _cut(message, budget, borders)
        cuts += cut is not None
        if cut is not None and answer_only:
            cut[ANSWER_ONLY] = True
        messages.append(message if cut is None else cut)
    return replace(conversation, messages=messages), cuts


class _Inline(NamedTuple):
    """Content split into pieces, whose concatenation it is.

    The thought is `body`; newlines next to the tags are in the other pieces.
    """

    opening: str
    body: str
    newline: str
    answer: str
    """From the closing tag on."""


def _remove_thought(message: Message) -> Message:
    if not has_reasoning(message):
        return message
    kept = {key: value for key, value in message.items() if key != "reasoning_content"}
    if message.get("reasoning_content", "").strip():
        return kept
    content = message["content"]
    if END_THINK in content:
        kept["content"] = content.rpartition(END_THINK)[2].lstrip()
    elif THINK in content:
        kept["content"] = content.partition(THINK)[0]
    return kept


def _cut(message: Message, budget: int, borders: TokenBorders) -> Message | None:
    """Return the message with its thought cut.

    None means that the thought fits, or that there is no thought to cut.
    """
    if not has_reasoning(message):
        return None
    thought = message.get("reasoning_content", "")
    if thought.strip():  # the template adds a newline before and after it
        cut = borders.cut(thought, "\n", budget - 1)
        return None if cut is None else {**message, "reasoning_content": cut}
    inline = _split_inline(message["content"])
    if inline is None:
        return None
    cut = borders.cut(inline.body, inline.newline, budget - inline.opening.endswith("\n"))
    if cut is None:
        return None
    return {**message, "content": inline.opening + cut + inline.newline + inline.answer}


def _split_inline(content: str) -> _Inline | None:
    """Split content that begins with a thought, with or without its opening tag.

    None means that there is no closed thought.
    """
    begin = content.find(THINK)
    if END_THINK not in content or (begin > 0 and content[:begin].strip() and begin < content.find(END_THINK)):
        return None
    end = content.find(END_THINK)
    start = begin + len(THINK) if 0 <= begin < end else 0
    start += content.startswith("\n", start, end)
    newline = "\n" if end > start and content[end - 1] == "\n" else ""
    return _Inline(content[:start], content[start : end - len(newline)], newline, content[end:])
