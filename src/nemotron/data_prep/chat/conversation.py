"""A normalised conversation, which every module of chat/ takes.

It does not depend on the dialect in which its row was written.

    {"role": "system" | "user" | "tool",  "content": str, ...}
    {"role": "assistant", "content": str, "reasoning_content"?: str, "tool_calls"?: [...], "train"?: False}

with each tool call `{"id"?, "type": "function", "function": {"name": str, "arguments": dict}}`. dialects/ makes it.
"""

from dataclasses import dataclass, field
from typing import Any

from nemotron.data_prep.notes import Note

Message = dict[str, Any]
Tool = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Conversation:
    """A normalised conversation (see the module's docstring).

    Treat the messages and tools as read-only.
    """

    messages: list[Message]
    tools: list[Tool] | None = None
    notes: tuple[Note, ...] = field(default=(), compare=False)
    """What was noticed in its row; two conversations are the same whatever was noticed."""


def is_trained(message: Message) -> bool:
    """Tell whether a message is an assistant's to learn from, not context only."""
    return message["role"] == "assistant" and "train" not in message
