"""What a step of tokenization says of a row, besides handing it on.

A step is a generator over what the step before kept:

    def step(candidates: Iterable[Candidate], ...) -> Iterator[Candidate | Dropped | Noticed]

`PartWriter.kept` takes the outcomes out of its stream: it alone counts and writes.
"""

from typing import NamedTuple

from nemotron.data_prep.drop_reasons import DropReason, LeftOut, RowError
from nemotron.data_prep.notes import Note


class Dropped(NamedTuple):
    """The row of this line (in the part, from 0) yields nothing."""

    line: int
    reason: DropReason | LeftOut
    detail: str

    @classmethod
    def because(cls, line: int, error: RowError) -> "Dropped":
        """Make the outcome of a row that cannot be trained on."""
        return cls(line, error.reason, error.detail)


class Noticed(NamedTuple):
    """Something was noticed in the row of this line, which goes on."""

    line: int
    note: Note
