"""Find reasoning, what the history keeps of it, and which turns train together.

Nemotron 3 shows a model its reasoning only in the newest turn: once the user speaks again, the reasoning of earlier
turns is removed. So a conversation with reasoning cannot be one training sequence, because each turn was answered with
a different history. It becomes one sequence per user turn (`turns_to_train`).
"""

from dataclasses import dataclass
from itertools import pairwise

from nemotron.data_prep.chat.conversation import Message

THINK = "<think>"
END_THINK = "</think>"
NO_THINKING = "<think></think>"
ANSWER_ONLY = "answer_only"
"""Key of an assistant's message that is supervised only from the closing tag on."""
_IN_BOTH = "think>"
"""Both tags contain this text."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One training sequence: `messages[:stop]`.

    The assistant messages from `start` on may be supervised.
    """

    start: int
    stop: int


def may_have_think_tag(text: str) -> bool:
    """Tell quickly whether a text may have a think tag; it is False for most texts."""
    return ">" in text and _IN_BOTH in text  # searching for one character is several times as fast as for a word


def turns_to_train(messages: list[Message], keep_history_thinking: bool = False) -> list[Turn]:
    """Return the training sequences of a conversation, in order.

    Without reasoning, or with reasoning kept in the history, one sequence is the whole conversation. Otherwise there is
    one per user turn that an assistant answers, ending before the next user turn. (If no user turn is answered, only
    the assistant messages before the first user turn can train.)
    """
    return turns_of(messages, per_user=not keep_history_thinking and any_reasoning(messages))


def turns_of(messages: list[Message], per_user: bool) -> list[Turn]:
    """Return the training sequences of a conversation: one, or one per user turn."""
    return per_user_turn(messages) if per_user else [Turn(0, len(messages))]


def any_reasoning(messages: list[Message]) -> bool:
    """Tell whether a message has reasoning."""
    return any(map(has_reasoning, [message for message in messages if message["role"] == "assistant"]))


def per_user_turn(messages: list[Message]) -> list[Turn]:
    """Return one Turn per user message that an assistant answers.

    Its `start` is directly after that user message.
    """
    users = [index for index, message in enumerate(messages) if message["role"] == "user"]
    bounds = [Turn(user + 1, stop) for user, stop in pairwise([*users, len(messages)])]
    answered = [turn for turn in bounds if any(m["role"] == "assistant" for m in messages[turn.start : turn.stop])]
    return answered or [Turn(0, users[0] if users else len(messages))]


def last_user_index(messages: list[Message], stop: int) -> int:
    """Return the index of the last user message of `messages[:stop]`, or -1.

    Assistant messages before it are history.
    """
    for index in range(stop - 1, -1, -1):
        if messages[index]["role"] == "user":
            return index
    return -1


def newest_content(message: Message) -> str:
    """Return an assistant's content with its reasoning inline, not yet trimmed.

    This is how the newest turn shows it. Think tags that are already in the content are kept, even if they are
    unpaired.
    """
    content = message["content"]
    reasoning = message.get("reasoning_content")
    if reasoning and not reasoning.isspace():
        return f"{THINK}\n{reasoning}\n{END_THINK}\n{content}"
    if may_have_think_tag(content) and (THINK in content or END_THINK in content):
        return content
    return NO_THINKING + content


def history_content(content: str, calls_tools: bool) -> str:
    """Return what the history keeps of `newest_content`, trimmed.

    This is the text after the last closed thought. As in the public template, a turn that calls tools also loses an
    unclosed thought, and the whitespace before its text.
    """
    if calls_tools:
        spoken = content.rpartition(END_THINK)[2] if END_THINK in content else content.partition(THINK)[0]
        return NO_THINKING + spoken.strip()
    if THINK in content and END_THINK in content:
        content = NO_THINKING + content.rpartition(END_THINK)[2]
    return content.strip()


def has_reasoning(message: Message) -> bool:
    """Tell whether an assistant's message looks different once it is history.

    It does if it has reasoning_content or an inline thought. Blank reasoning_content counts (as in the public recipe),
    but an empty inline thought does not.
    """
    if message["role"] != "assistant":
        return False
    if message.get("reasoning_content"):
        return True
    content = message["content"]
    if not may_have_think_tag(content) or (THINK not in content and END_THINK not in content):
        return False
    return _remove_tags(content) != _remove_tags(history_content(content, "tool_calls" in message))


def _remove_tags(content: str) -> str:
    return content.replace(THINK, "").replace(END_THINK, "").strip()
