"""Define what a step of tokenization may say about a row.

A step is a generator over what the step before kept:

    def step(candidates: Iterable[Candidate], ...) -> Iterator[Candidate | Dropped | Noticed]

`PartWriter.kept` removes the outcomes from the stream; only it counts and writes.
"""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import orjson

from nemotron.data_prep.drop_reasons import DropReason, LeftOut, RowError
from nemotron.data_prep.notes import EXAMPLES, Note
from nemotron.data_prep.sources import Row
from nemotron.printable import printable
from nemotron.secrets import mask_text

EXCERPT = 800
"""Characters of a dropped row that are kept as an example."""
LOOKED_AT = 2**20
"""Characters that are looked at for secrets before: of a piece nobody can tell that it is of a secret."""


class Dropped(NamedTuple):
    """The row of this line (in the part, from 0) is dropped."""

    line: int
    reason: DropReason | LeftOut
    detail: str
    messages: Any = None
    """What the row says, where it may not be the one that was read last."""

    @classmethod
    def because(cls, line: int, error: RowError, messages: Any = None) -> "Dropped":
        """Make the outcome of a row from its error."""
        return cls(line, error.reason, error.detail, messages)


class Noticed(NamedTuple):
    """Something was noticed in the row of this line, which is kept."""

    line: int
    note: Note


@dataclass(frozen=True)
class DroppedExample:
    """A dropped row to look at."""

    reason: str
    line: int
    """In the part, from 0."""
    detail: str
    text: str
    """The beginning of the row, printable; empty where it was not at hand any more."""


class Writable(Protocol):
    """A file to write to."""

    def write(self, content: bytes, /) -> object:
        """Append bytes."""


class DroppedWriter:
    """Counts and lists the dropped rows of a part.

    The first of each reason are kept to look at. The file is opened for the first one: mostly there is none.
    """

    def __init__(self, open_file: Callable[[], Writable]) -> None:
        self._open, self._file = open_file, None
        self.reasons: Counter[str] = Counter()
        self.examples: list[DroppedExample] = []

    def add(self, dropped: Dropped, row: Row | None) -> None:
        """Add a dropped row.

        Args:
            dropped: What became of it.
            row: The row that was read last; mostly this one.
        """
        reason = str(dropped.reason)  # plain text, whichever enumeration it comes from
        self.reasons[reason] += 1
        if self.reasons[reason] <= EXAMPLES:
            at_hand = row if row is not None and row.line == dropped.line else Row(dropped.line, dropped.messages)
            text = excerpt(at_hand)
            self.examples.append(DroppedExample(reason, dropped.line, shorten(printable(dropped.detail)), text))
        line = {"line": dropped.line, "reason": reason, "detail": mask_text(dropped.detail)}
        self._file = self._file or self._open()
        self._file.write(orjson.dumps(line) + b"\n")


def excerpt(row: Row) -> str:
    """Return the beginning of a row, printable and with secrets masked."""
    if row.text is not None:
        return shorten(printable(row.text[:LOOKED_AT].decode(errors="replace").rstrip("\r\n")))
    if row.value is None:
        return ""
    try:
        return shorten(printable(json.dumps(row.value, ensure_ascii=False, default=str)[:LOOKED_AT]))
    except (RecursionError, ValueError, TypeError):  # nested too deeply, or keys that are no text
        return ""


def shorten(text: str, most: int = EXCERPT) -> str:
    """Cut a text, and say so."""
    return text if len(text) <= most else f"{text[:most]}\u2026"
