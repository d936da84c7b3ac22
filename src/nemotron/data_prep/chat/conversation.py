"""Define a normalised conversation, which does not depend on the row's dialect.

    {"role": "system" | "user" | "tool",  "content": str, ...}
    {"role": "assistant", "content": str, "reasoning_content"?: str, "tool_calls"?: [...], "train"?: False}

with each tool call `{"id"?, "type": "function", "function": {"name": str, "arguments": dict}}`. The modules in
dialects/ make conversations from rows.
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
    """What was noticed in its row; equality ignores notes."""


def is_trained(message: Message) -> bool:
    """Tell whether a message is an assistant's that trains, not just context."""
    return message["role"] == "assistant" and "train" not in message
