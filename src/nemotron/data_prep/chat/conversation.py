"""Define a normalised conversation, which does not depend on the row's dialect.

    {"role": "system" | "user" | "tool",  "content": str, ...}
    {"role": "assistant", "content": str, "reasoning_content"?: str, "tool_calls"?: [...], "train"?: False}

with each tool call `{"id"?, "type": "function", "function": {"name": str, "arguments": dict}}`. The modules in
dialects/ make conversations from rows.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import orjson

from nemotron.data_prep.notes import Note

Message = dict[str, Any]
Tool = dict[str, Any]

MOST_TOOL_LISTS = 1024
"""How many lists of tools a process remembers something about; whole datasets share a few."""


class ToolList(list[Tool]):
    """A list of tools that conversations share.

    It is hashed by its identity, so that `lru_cache` works out once what follows from it.
    """

    def __hash__(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return id(self)


def share(tools: list[Tool]) -> list[Tool]:
    """Return the list that stands for all equal ones.

    It is the list itself if its JSON cannot tell.
    """
    if type(tools) is ToolList:
        return tools
    try:
        return _of_json(orjson.dumps(tools))
    except TypeError:  # an integer beyond 64 bits, or nesting beyond orjson's 254 levels
        return tools


@lru_cache(maxsize=MOST_TOOL_LISTS)
def _of_json(tools: bytes) -> ToolList:
    return ToolList(orjson.loads(tools))


@dataclass(frozen=True, slots=True)
class Conversation:
    """A normalised conversation (see the module's docstring).

    Treat the messages and tools as read-only.
    """

    messages: list[Message]
    tools: list[Tool] | None = None
    notes: tuple[Note, ...] = field(default=(), compare=False)
    """What was noticed in its row; equality ignores notes."""


def is_trained(message: Message) -> bool:
    """Tell whether a message is an assistant's that trains, not just context."""
    return message["role"] == "assistant" and "train" not in message
