"""Look at a conversation for the checks of its domain.

What is found becomes a Note, which is counted with the others. A check costs nothing unless a blend asks for it. The
check `lengths` does not look at conversations: output/counting_checks.py has the lengths of all sequences.
"""

from collections.abc import Collection, Iterator
from typing import Any

from nemotron.data_prep.chat.conversation import Conversation
from nemotron.data_prep.domain_checks.languages import detect_language
from nemotron.data_prep.notes import Note, NoteKind

CHECKS = ("languages", "tool_calls", "lengths")
"""The values that a dataset's `checks` may list."""
FOUND_BY = {NoteKind.LANGUAGE: "languages", NoteKind.TOOL_USE: "tool_calls"}
"""The check that each kind of note answers."""

CALLS, OFFERED, NO_TOOLS = "calls tools", "is offered tools and calls none", "has no tools"


def look(checks: Collection[str], row: Any, conversation: Conversation) -> Iterator[Note]:
    """Yield a Note for each of the checks that looks at conversations."""
    if "languages" in checks:
        yield Note(NoteKind.LANGUAGE, detect_language(row, conversation.messages))
    if "tool_calls" in checks:
        yield Note(NoteKind.TOOL_USE, _find_tool_use(conversation))


def _find_tool_use(conversation: Conversation) -> str:
    if any(message.get("tool_calls") for message in conversation.messages):
        return CALLS
    return OFFERED if conversation.tools else NO_TOOLS
