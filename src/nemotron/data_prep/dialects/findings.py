"""Collect what reading a row finds in addition to its messages."""

from typing import Any

from nemotron.data_prep.notes import Note, NoteKind


class Findings:
    """Collects notes, tools found in messages, and facts about the row as a whole."""

    __slots__ = ("_notes", "has_result_ids", "is_table", "tools")

    def __init__(self) -> None:
        self._notes: dict[Note, None] = {}
        self.tools: list[tuple[str, Any]] = []
        """Tools found in system messages, as (place, value)."""
        self.is_table = False
        """Whether the row comes from a table, where all objects of a list have the same keys, filled with null."""
        self.has_result_ids = False

    def note(self, kind: NoteKind, name: str = "") -> None:
        """Add a note, once."""
        self._notes[Note(kind, name)] = None

    @property
    def notes(self) -> tuple[Note, ...]:
        return tuple(self._notes)


def is_table(messages: list[Any]) -> bool:
    """Tell whether all messages have the same keys, with null for missing values.

    Arrow fills them in this way.
    """
    first = messages[0]
    if not isinstance(first, dict) or len(first) < 3:
        return False
    keys = first.keys()
    if not all(isinstance(message, dict) and message.keys() == keys for message in messages):
        return False
    return any(value is None and key != "content" for message in messages for key, value in message.items())
