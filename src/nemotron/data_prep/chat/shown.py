"""Whether a rendered turn shows what its message says.

That is content, reasoning, and every call with its arguments.

A template may trim texts, escape them, put them in any order and between any tags. So each part is looked for alone, in
the spellings that templates use, and a part that was found is taken out: reasoning that says the same as the answer is
not shown where the text stands once.
"""

import html
import json
import re
from collections.abc import Iterator
from typing import Any

from nemotron.data_prep.chat.conversation import Message
from nemotron.data_prep.chat.null_content import NullText

_TAKEN = "\0"
"""Stands where a part was found, so that what is left of it and right of it do not make a word."""


def find_lost(message: Message, text: str) -> str | None:
    """Find what a rendered turn does not show.

    Args:
        message: A normalised assistant's message.
        text: What the template rendered for it.

    Returns:
        The first part that is lost, in words ("the reasoning"); None when there is none.
    """
    calls = [call["function"] for call in message.get("tool_calls", ())]
    for what, part in sorted(_texts(message), key=lambda named: -len(named[1])):
        left = _take(part, text)
        if left is None:
            return what
        text = left
    for name, value in ((call["name"], call["arguments"]) for call in calls):
        if (left := _take(name, text)) is None:
            return f"the call of {name}"
        if (argument := _lost_argument(value, left, text)) is not None:
            return f"{argument} of the call of {name}"
    if isinstance(message["content"], NullText) and "None" in text and not re.search("None|null", json.dumps(calls)):
        return "that the content is null: it prints None"
    return None


def _texts(message: Message) -> Iterator[tuple[str, str]]:
    """Yield the texts that a message says, each with its name.

    An inline thought without its tags, which may move.
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
    """`text` without the first occurrence of `part`, in whatever spelling.

    None when there is none.

    Blanks do not count where it is found nowhere with them: the text is then returned without any.
    """
    for spelling in _spellings(part):
        before, found, after = text.partition(spelling)
        if found:
            return before + _TAKEN + after
    before, found, after = "".join(text.split()).partition("".join(part.split()))
    return before + _TAKEN + after if found else None


def _lost_argument(arguments: dict[str, Any], *texts: str) -> str | None:
    """Return the first argument of which a key or value stands in none of the texts."""
    if len(arguments) and repr(arguments) in texts[-1] and repr(arguments) != json.dumps(arguments, ensure_ascii=False):
        return "the JSON, for which Python's spelling of it stands,"
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


def _spellings(text: str) -> Iterator[str]:
    """Spell a text in each way in which templates write it.

    As it is, inside JSON, inside JSON inside JSON, as HTML, as Python prints it.
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
