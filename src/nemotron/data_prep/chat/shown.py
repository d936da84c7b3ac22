"""Check that a rendered turn shows all of its message.

That is its content, its reasoning, and every call with its arguments. A template may trim texts, escape them, and put
them in any order and between any tags. So each part is searched for separately, in the spellings that templates use,
and a part that was found is removed: a text that appears once does not show both the reasoning and an identical answer.
"""

import html
import json
import re
from collections.abc import Iterator
from typing import Any

from nemotron.data_prep.chat.conversation import Message
from nemotron.data_prep.chat.null_content import NullText

_TAKEN = "\0"
"""Replaces a part that was found, so that the text before and after it does not join to a word."""


def find_lost(message: Message, text: str) -> str | None:
    """Find what a rendered turn does not show.

    Args:
        message: A normalised assistant's message.
        text: What the template rendered for it.

    Returns:
        The first part that is lost, in words ("the reasoning"), or None.
    """
    calls = [call["function"] for call in message.get("tool_calls", ())]
    turn = text
    for what, part in sorted(_texts(message), key=lambda named: -_longest_spelling(named[1])):
        left = _take(part, text)
        if left is None:
            return what
        text = left
    for name, value in ((call["name"], call["arguments"]) for call in calls):
        if (left := _take(name, text)) is None:
            return f"the call of {name}"
        # As JSON, they cannot be mistaken for a text, nor a short text be taken out of them.
        in_json = (json.dumps(value, ensure_ascii=ascii) for ascii in (True, False))
        if any(spelling in turn for whole in in_json for spelling in _spellings(whole)):
            continue
        if (argument := _find_lost_argument(value, left, text)) is not None:
            return f"{argument} of the call of {name}"
    if isinstance(message["content"], NullText) and "None" in text and not re.search("None|null", json.dumps(calls)):
        return "that the content is null: it prints None"
    return None


def _texts(message: Message) -> Iterator[tuple[str, str]]:
    """Yield the texts of a message, each with a name for it.

    An inline thought is yielded without its tags, which may move.
    """
    thought, tag, _ = message["content"].rpartition("</think>")
    parts = re.split("</?think>", message["content"])
    for position, part in enumerate(parts):
        is_thought = bool(tag) and position < len(parts) - 1
        if part.strip():
            yield "the reasoning" if is_thought else "the content", part.strip()
    if thought := message.get("reasoning_content", "").strip():
        yield "the reasoning", thought


def _take(part: str, text: str) -> str | None:
    """Return `text` without the first occurrence of `part` in any spelling, or None.

    If `part` is found only when whitespace is ignored, the text is returned without whitespace.
    """
    for spelling in _spellings(part):
        before, found, after = text.partition(spelling)
        if found:
            return before + _TAKEN + after
    before, found, after = "".join(text.split()).partition("".join(part.split()))
    return before + _TAKEN + after if found else None


def _find_lost_argument(arguments: dict[str, Any], *texts: str) -> str | None:
    """Return the first argument with a key or value that is in none of the texts.

    The texts do not have the arguments as JSON.
    """
    if len(arguments) and repr(arguments) in texts[-1]:
        return "the JSON, which is replaced by Python's spelling of it,"
    for name, value in arguments.items():
        for leaf in _leaves({name: value}):
            if not any(_is_in(leaf, text) for text in texts):
                return f"the argument {name}"
    return None


def _leaves(value: Any) -> Iterator[Any]:
    """List all keys and plain values inside a JSON value.

    It may be nested deeper than Python recurses.
    """
    left = [value]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            left.extend(value)
            left.extend(value.values())
        elif isinstance(value, list):
            left.extend(value)
        else:
            yield value


def _is_in(value: Any, text: str) -> bool:
    if isinstance(value, str):
        return not value.strip() or _take(value.strip(), text) is not None
    return json.dumps(value) in text or str(value) in text


def _longest_spelling(text: str) -> int:
    """Return the characters of the longest spelling of a text.

    Texts are taken in this order, because a short one may stand in the spelling of another: 0 in \\u001b, lt in &lt;.
    """
    return max(map(len, _spellings(text)))


def _spellings(text: str) -> Iterator[str]:
    """Yield a text in each spelling that templates use.

    These are the text itself, JSON, JSON inside JSON, HTML, and Python's repr.
    """
    yield text
    escaped = json.dumps(text, ensure_ascii=False)[1:-1]
    yield escaped
    yield json.dumps(text)[1:-1]
    yield json.dumps(escaped, ensure_ascii=False)[1:-1]
    yield json.dumps(json.dumps(text)[1:-1])[1:-1]
    yield html.escape(text)
    yield html.escape(escaped)
    yield repr(text)[1:-1]
