"""What all tokenized parts of a run hold, as a few flat arrays.

The second phase makes its decisions on these arrays. They are the only data that grows with the number of
conversations, by about 35 bytes for each. What only few steps need (lines, places, turns) stays on disk, and is read
part by part.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nemotron.data_prep.part_index import Histories, PartIndex, SequencePlace
from nemotron.data_prep.tokenization.part_files import PartReceipt, read_index

NO_HISTORY = Histories(np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.int32))


class CorpusPart(NamedTuple):
    """Where the conversations and sequences of a part are in the arrays of a corpus."""

    number: int
    path: Path
    dataset: int
    """Index into the plan's datasets."""
    conversations: slice
    sequences: slice


class Places(NamedTuple):
    """Where all sequences are in their parts."""

    start: np.ndarray
    """int64 [sequences]: position of the first token that is the sequence's own."""
    history: Histories
    """What some begin with."""


@dataclass(frozen=True)
class Corpus:
    """Conversations and their sequences, in plan order: dataset, file, part, line."""

    parts: tuple[Path, ...]
    receipts: tuple[PartReceipt, ...]
    dataset_of_part: np.ndarray
    """int32 [parts], ascending: index into the plan's datasets."""
    conversation_bounds: np.ndarray
    """int64 [parts + 1]: part `p` has the conversations `conversation_bounds[p]:conversation_bounds[p + 1]`."""
    sequence_bounds: np.ndarray
    """int64 [parts + 1]: the same of sequences."""

    hash: np.ndarray
    """uint64 [conversations, 2]: the content hash."""
    mode: np.ndarray
    """uint8 [conversations]: the code of the reasoning mode."""

    conversation: np.ndarray
    """int32 [sequences]: index of the conversation."""
    length: np.ndarray
    """int32 [sequences]: tokens, uncut."""
    targets: np.ndarray
    """int32 [sequences]: tokens the trainer learns to predict, uncut."""

    @property
    def conversations(self) -> int:
        """The number of conversations."""
        return len(self.hash)

    @property
    def dataset(self) -> np.ndarray:
        """int32 [conversations]: index into the plan's datasets.

        It is made anew whenever it is asked for.
        """
        return np.repeat(self.dataset_of_part, np.diff(self.conversation_bounds))

    def of_dataset(self, number: int) -> tuple[slice, slice]:
        """Return where the conversations and the sequences of a dataset are."""
        first, after = np.searchsorted(self.dataset_of_part, [number, number + 1])
        bounds = self.conversation_bounds, self.sequence_bounds
        conversations, sequences = (slice(int(of[first]), int(of[after])) for of in bounds)
        return conversations, sequences

    def each_part(self) -> Iterator[CorpusPart]:
        """Yield the parts, in order."""
        for number in range(len(self.parts)):
            yield self.part(number)

    def part(self, number: int) -> CorpusPart:
        """Return a part by its number."""
        bounds = self.conversation_bounds, self.sequence_bounds
        conversations, sequences = (slice(int(of[number]), int(of[number + 1])) for of in bounds)
        return CorpusPart(number, self.parts[number], int(self.dataset_of_part[number]), conversations, sequences)

    def part_of_conversation(self, conversation: int) -> CorpusPart:
        """Return the part of a conversation."""
        return self.part(int(np.searchsorted(self.conversation_bounds, conversation, side="right")) - 1)

    def part_numbers(self, sequences: np.ndarray) -> np.ndarray:
        """Return the number of each sequence's part, int32."""
        return (np.searchsorted(self.sequence_bounds, sequences, side="right") - 1).astype(np.int32)

    def read_index(self, part: CorpusPart) -> PartIndex:
        """Read everything that a part's index holds."""
        return read_index(part.path, self.receipts[part.number])

    def line_of(self, conversation: int) -> int:
        """Return the line of a conversation in its part, from 0."""
        part = self.part_of_conversation(conversation)
        return int(self.read_index(part).lines[conversation - part.conversations.start])

    def place_of(self, sequence: int) -> SequencePlace:
        """Return where a sequence is in its part."""
        part = self.part_of_conversation(int(self.conversation[sequence]))
        index, number = self.read_index(part), sequence - part.sequences.start
        history_start, start = index.starts()
        return SequencePlace(int(history_start[number]), int(index.shared_lengths[number]), int(start[number]))

    def find_places(self) -> Places:
        """Find where all sequences are in their parts."""
        starts, histories = np.empty(len(self.length), np.int64), [NO_HISTORY]
        for part in self.each_part():
            index = self.read_index(part)
            history_start, starts[part.sequences] = index.starts()
            found = np.flatnonzero(index.shared_lengths)
            numbers = (found + part.sequences.start).astype(np.int32)
            histories.append(Histories(numbers, history_start[found], index.shared_lengths[found]))
        return Places(starts, Histories(*map(np.concatenate, zip(*histories, strict=True))))


def load_corpus(parts: Sequence[Path], receipts: Sequence[PartReceipt], datasets: Sequence[int]) -> Corpus:
    """Read the indices of tokenized parts.

    `datasets` says which dataset each part belongs to, in ascending order.
    """
    conversations, sequences = (
        np.concatenate([[0], np.cumsum([getattr(receipt, name) for receipt in receipts], dtype=np.int64)])
        for name in ("kept", "sequences")
    )
    corpus = Corpus(
        parts=tuple(parts),
        receipts=tuple(receipts),
        dataset_of_part=np.array(datasets, np.int32),
        conversation_bounds=conversations,
        sequence_bounds=sequences,
        hash=np.empty((conversations[-1], 2), np.uint64),
        mode=np.empty(conversations[-1], np.uint8),
        conversation=np.empty(sequences[-1], np.int32),
        length=np.empty(sequences[-1], np.int32),
        targets=np.empty(sequences[-1], np.int32),
    )
    # Each part is read into its place; reading all parts and then joining them would take twice the memory.
    for part in corpus.each_part():
        index = corpus.read_index(part)
        corpus.hash[part.conversations], corpus.mode[part.conversations] = index.hashes, index.modes
        corpus.length[part.sequences], corpus.targets[part.sequences] = index.lengths, index.targets
        numbers = np.arange(part.conversations.start, part.conversations.stop, dtype=np.int32)
        corpus.conversation[part.sequences] = np.repeat(numbers, index.sequence_counts)
    return corpus
