"""The training sequences of a conversation as text."""

from typing import NamedTuple


class Chunk(NamedTuple):
    """A piece of rendered text.

    `role` is its (last) message's, `supervised` says whether the model learns to write it.
    """

    role: str
    text: str
    supervised: bool


class Sequence(NamedTuple):
    """One training sequence."""

    shared: int
    """With how many pieces of the conversation's history it begins."""
    chunks: list[Chunk]
    """What follows them."""


class Rendered(NamedTuple):
    """The training sequences of a conversation.

    Each may begin with the messages of those before it.
    """

    history: list[str]
    """What sequences begin with, in pieces: the system's turn, then the turns before one user's, before the next's, ...
    Nothing of it trains."""
    sequences: list[Sequence]

    def whole(self) -> list[list[Chunk]]:
        """Return the chunks of each sequence, with its history."""
        return [self._with_history(*sequence) for sequence in self.sequences]

    def _with_history(self, shared: int, chunks: list[Chunk]) -> list[Chunk]:
        if not shared:
            return chunks
        role, text, supervised = chunks[0]
        before = "".join(self.history[1:shared])
        return [Chunk("system", self.history[0], False), Chunk(role, before + text, supervised), *chunks[1:]]
