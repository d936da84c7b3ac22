"""Convert a conversation to the forms that chat templates read.

Templates were written for different clients: some take a call's arguments as an object, others as JSON text; some
distinguish null content from empty content, others print None for it; some call the reasoning `thinking`. Normalised
messages have one form, so other forms are tried if a template loses something or fails.
"""

import itertools
import json
import re
from collections.abc import Callable, Iterator

from nemotron.data_prep.chat.conversation import Message
from nemotron.data_prep.chat.null_content import NullText

Change = Callable[[Message], Message]
_REASONING = re.compile(r"""['".](thinking|reasoning)\b""")


def list_forms(messages: list[Message], source: str) -> Iterator[list[Message]]:
    """Yield messages in the forms that a template may expect.

    Args:
        messages: Normalised messages.
        source: The template's Jinja text, which shows what it reads.

    Yields:
        The messages, first in the form that transformers uses: null content, arguments as objects, `reasoning_content`.
    """
    assistants = [message for message in messages if message["role"] == "assistant"]
    reasonings: list[Change] = [_as_it_is]
    if any("reasoning_content" in message for message in assistants):
        reasonings += [_rename_reasoning(name) for name in dict.fromkeys(_REASONING.findall(source))]
    has_calls = any("tool_calls" in message for message in assistants)
    arguments: list[Change] = [_as_it_is, _with_json_arguments] if has_calls else [_as_it_is]
    contents: list[Change] = [_as_it_is]
    if any(isinstance(message["content"], NullText) for message in assistants):
        contents = [_with_null_content, _as_it_is]
    elif has_calls and not all(message["content"] for message in assistants):
        contents = [_as_it_is, _with_null_beside_calls]
    for changes in itertools.product(reasonings, arguments, contents):
        changed = messages
        for change in changes:
            if change is not _as_it_is:
                changed = [change(message) if message["role"] == "assistant" else message for message in changed]
        yield changed


def _as_it_is(message: Message) -> Message:
    return message


def _with_null_content(message: Message) -> Message:
    return {**message, "content": None} if isinstance(message["content"], NullText) else message


def _with_null_beside_calls(message: Message) -> Message:
    return {**message, "content": None} if "tool_calls" in message and not message["content"] else message


def _with_json_arguments(message: Message) -> Message:
    if "tool_calls" not in message:
        return message
    functions = [call["function"] for call in message["tool_calls"]]
    texts = [json.dumps(function["arguments"], ensure_ascii=False) for function in functions]
    calls = [
        {**call, "function": {**call["function"], "arguments": text}}
        for call, text in zip(message["tool_calls"], texts, strict=True)
    ]
    return {**message, "tool_calls": calls}


def _rename_reasoning(name: str) -> Change:
    def rename(message: Message) -> Message:
        return {name if key == "reasoning_content" else key: value for key, value in message.items()}

    return rename
