"""The contents of a tokenized part, and their places, in small arrays.

Selection and packing need only these.
"""

import math
from typing import NamedTuple

import numpy as np


class PartIndex(NamedTuple):
    """What a part contains, as flat arrays.

    They are over its conversations, their sequences, and the trained turns of the sequences. All are int32, except for
    the hashes.
    """

    lines: np.ndarray
    """[conversations]: line in the part, from 0."""
    hashes: np.ndarray
    """uint64 [conversations, 2]: the content hash."""
    modes: np.ndarray
    """[conversations]: the code of the reasoning mode, its place in MODES."""
    sequence_counts: np.ndarray
    """[conversations], each at least 1."""
    masked_counts: np.ndarray
    """[conversations]: further sequences left out because nothing in them would train."""
    history_lengths: np.ndarray
    """[conversations]: tokens that its sequences share, which come before them; 0 for most."""
    lengths: np.ndarray
    """[sequences], in tokens."""
    shared_lengths: np.ndarray
    """[sequences]: how many of these are the beginning of the shared history."""
    targets: np.ndarray
    """[sequences]: tokens the trainer learns to predict, at least 1."""
    turn_counts: np.ndarray
    """[sequences]: trained assistant turns."""
    turn_ends: np.ndarray
    """[turns]: where the turn ends, in tokens from the start of its sequence."""
    turn_targets: np.ndarray
    """[turns]: targets of the sequence up to there."""

    def starts(self) -> tuple[np.ndarray, np.ndarray]:
        """Find the places of sequences in the part.

        Returns:
            int64 [sequences]: the first token of the shared history, and the first of a sequence's own.
        """
        own_lengths = self.lengths - self.shared_lengths
        histories = np.repeat(np.cumsum(self.history_lengths, dtype=np.int64), self.sequence_counts)
        own = np.cumsum(own_lengths, dtype=np.int64) - own_lengths + histories
        firsts = np.cumsum(self.sequence_counts) - self.sequence_counts
        history = own[firsts] - self.history_lengths
        return np.repeat(history, self.sequence_counts), own


EMPTY_INDEX = PartIndex(
    *(np.zeros((0, 2), np.uint64) if name == "hashes" else np.zeros(0, np.int32) for name in PartIndex._fields)
)


class SequencePlace(NamedTuple):
    """The place of a sequence in a part.

    It consists of a beginning that it shares with others, and of a rest of its own.
    """

    history_start: int
    shared: int
    """Tokens of the history."""
    start: int

    def stretches(self, length: int) -> list[tuple[int, int]]:
        """Return the first token, and the number of tokens, of both pieces.

        Args:
            length: How many tokens of the sequence to cover.
        """
        shared = min(self.shared, length)
        return [(self.history_start, shared), (self.start, length - shared)]


class Histories(NamedTuple):
    """The sequences that begin with a history which they share with others.

    Arrays [those sequences]. All others have no entry; usually these are most.
    """

    sequence: np.ndarray
    """int32, ascending: the number of the sequence."""
    start: np.ndarray
    """int64: position in the part of the history."""
    length: np.ndarray
    """int32: how many tokens of the sequence are the beginning of that history."""

    def of(self, chosen: np.ndarray) -> "Histories":
        """Return those of chosen sequences, numbered by their places in `chosen`."""
        if not len(self.sequence):
            return self
        at = np.searchsorted(self.sequence, chosen).clip(max=len(self.sequence) - 1)
        places = np.flatnonzero(self.sequence[at] == chosen)
        return Histories(places.astype(np.int32), self.start[at[places]], self.length[at[places]])

    def among(self, members: slice) -> "Histories":
        """Return those of the sequences in `members`, numbered from its beginning."""
        first, after = np.searchsorted(self.sequence, [members.start, members.stop])
        sequence, start, length = (array[first:after] for array in self)
        return Histories(sequence - members.start, start, length)


def bytes_of(array: np.ndarray) -> memoryview:
    """Return the bytes of an array as they are written, little endian."""
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(-1).view(np.uint8).data


def compact(index: PartIndex) -> PartIndex:
    """Return an index with the types that are written."""
    return PartIndex(*(array.astype(empty.dtype) for array, empty in zip(index, EMPTY_INDEX, strict=True)))


def unpack(content: bytes, conversations: int, sequences: int, turns: int) -> PartIndex:
    """Read the arrays of an index, which follow one another."""
    begin, arrays = 0, []
    for count, empty in zip(spread(conversations, sequences, turns), EMPTY_INDEX, strict=True):
        shape = (count, *empty.shape[1:])
        array = np.frombuffer(content, empty.dtype.newbyteorder("<"), math.prod(shape), begin)
        begin += array.nbytes
        arrays.append(array.reshape(shape))
    return PartIndex(*arrays)


def spread[Value](conversations: Value, sequences: Value, turns: Value) -> tuple[Value, ...]:
    """Repeat the values for conversations, sequences and turns.

    Each is repeated once per array of a PartIndex.
    """
    return (*[conversations] * 6, *[sequences] * 4, *[turns] * 2)
