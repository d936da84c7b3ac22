"""Decide whether a row is admitted to tokenization.

Data prep and `data inspect` use the same rules.
"""

from dataclasses import dataclass, replace
from typing import Any

from nemotron.data_prep.chat.conversation import Conversation
from nemotron.data_prep.dialects.forms import Fields
from nemotron.data_prep.dialects.row import parse_row
from nemotron.data_prep.domain_checks.look import look
from nemotron.data_prep.drop_reasons import DropReason, LeftOut, RowError
from nemotron.data_prep.notes import Note, NoteKind
from nemotron.data_prep.sources import Row

UNUSED = (NoteKind.UNUSED_ROW_FIELD, NoteKind.UNUSED_MESSAGE_FIELD)


@dataclass(frozen=True)
class Admission:
    """Which rows to take, and where their conversations are."""

    fields: Fields = Fields()  # noqa: RUF009 (a tuple)
    used_in_field: str = "used_in"
    used_in_filter: str | None = None
    strict_fields: bool = False
    """Refuse rows with unused fields."""
    checks: tuple[str, ...] = ()
    """The checks of the dataset's domain."""

    def conversation(self, row: Row) -> Conversation:
        """Parse a row that is not blank.

        Raises:
            RowError: The row has no usable conversation; the error says why.
        """
        if row.error is not None:
            raise RowError(DropReason.BAD_JSON, row.error)
        if not self.is_used(row.value):
            raise RowError(LeftOut.FILTERED, f'"{self.used_in_field}" does not name {self.used_in_filter}')
        conversation = parse_row(row.value, *self.fields, exact=row.exact if row.text is not None else None)
        if self.checks:
            found = look(self.checks, row.value, conversation)
            conversation = replace(conversation, notes=(*conversation.notes, *found))
        if not conversation.notes:
            return conversation
        stage = Note(NoteKind.UNUSED_ROW_FIELD, self.used_in_field)  # used here, so it gets no note
        notes = tuple(note for note in conversation.notes if note != stage or self.used_in_filter is None)
        if self.strict_fields and (unused := [note.name for note in notes if note.kind in UNUSED]):
            raise RowError(LeftOut.UNUSED_FIELDS, f"not used: {', '.join(unused)}")
        return replace(conversation, notes=notes)

    def is_used(self, row: Any) -> bool:
        """Tell whether a row lists the wanted stage among its stages.

        Stages are a list, or text separated by commas.
        """
        wanted = self.used_in_filter
        if wanted is None or not isinstance(row, dict):
            return True
        named = row.get(self.used_in_field)
        if isinstance(named, str):
            return wanted in (name.strip() for name in named.split(","))
        return isinstance(named, list) and wanted in named
