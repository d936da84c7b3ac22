"""Load all tokenized parts of a run as a few flat arrays.

The second phase makes its decisions on these arrays. They are the only data that grows with the number of
conversations, by about 100 bytes for each, which is why they are int32.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nemotron.data_prep.part_index import EMPTY_INDEX, PartIndex, spread
from nemotron.data_prep.tokenization.part_files import PartReceipt, read_index


@dataclass(frozen=True)
class Corpus:
    """Conversations, their sequences, and the trained turns of the sequences.

    In plan order: dataset, file, part, line.

    The turns of sequence `i` are those at `turn_bounds[i]:turn_bounds[i + 1]`.
    """

    parts: tuple[Path, ...]

    dataset: np.ndarray
    """int32 [conversations]: index into the plan's datasets."""
    conversation_part: np.ndarray
    """int32 [conversations]: index into `parts`."""
    line: np.ndarray
    """int32 [conversations]: line in the part, from 0."""
    hash: np.ndarray
    """uint64 [conversations, 2]: the content hash."""
    mode: np.ndarray
    """int32 [conversations]: the code of the reasoning mode."""
    masked_count: np.ndarray
    """int32 [conversations]: sequences already left out because nothing in them would train."""

    conversation: np.ndarray
    """int32 [sequences]: index of the conversation."""
    part: np.ndarray
    """int32 [sequences]: index into `parts`."""
    start: np.ndarray
    """int64 [sequences]: position in the part of the first token that is the sequence's own."""
    length: np.ndarray
    """int32 [sequences]: tokens, uncut."""
    history_start: np.ndarray
    """int64 [sequences]: position in the part of the history that the conversation's sequences share."""
    shared: np.ndarray
    """int32 [sequences]: how many tokens of the sequence are the beginning of that history; 0 for most."""
    targets: np.ndarray
    """int32 [sequences]: tokens the trainer learns to predict, uncut."""
    turn_bounds: np.ndarray
    """int64 [sequences + 1]."""

    turn_end: np.ndarray
    """int32 [turns]: tokens from the start of the sequence to the end of the turn."""
    turn_targets: np.ndarray
    """int32 [turns]: targets of the sequence up to the end of the turn."""


def load_corpus(parts: Sequence[Path], receipts: Sequence[PartReceipt], datasets: Sequence[int]) -> Corpus:
    """Read the indices of tokenized parts.

    `datasets` says which dataset each part belongs to.
    """
    conversations, sequences, turns = (
        np.array([getattr(receipt, name) for receipt in receipts], np.int64) for name in ("kept", "sequences", "turns")
    )
    counts = PartIndex(*spread(conversations, sequences, turns))
    # Each part is read into its place; reading all parts and then joining them would take twice the memory.
    joined = PartIndex(
        *(
            np.empty((count.sum(), *empty.shape[1:]), empty.dtype)
            for count, empty in zip(counts, EMPTY_INDEX, strict=True)
        )
    )
    history_start, start = (np.empty(len(joined.lengths), np.int64) for _ in range(2))
    ends = PartIndex(*(np.cumsum(count) for count in counts))
    for number, part in enumerate(parts):
        index = read_index(part, receipts[number])
        for to, end, count, array in zip(joined, ends, counts, index, strict=True):
            to[end[number] - count[number] : end[number]] = array
        of_part = slice(ends.lengths[number] - sequences[number], ends.lengths[number])
        history_start[of_part], start[of_part] = index.starts()
    numbers = np.arange(len(parts), dtype=np.int32)
    turn_bounds = np.zeros(len(joined.turn_counts) + 1, np.int64)
    np.cumsum(joined.turn_counts, out=turn_bounds[1:])
    return Corpus(
        parts=tuple(parts),
        dataset=np.repeat(np.asarray(datasets, np.int32), conversations),
        conversation_part=np.repeat(numbers, conversations),
        line=joined.lines,
        hash=joined.hashes,
        mode=joined.modes,
        masked_count=joined.masked_counts,
        conversation=np.repeat(np.arange(len(joined.lines), dtype=np.int32), joined.sequence_counts),
        part=np.repeat(numbers, sequences),
        start=start,
        length=joined.lengths,
        history_start=history_start,
        shared=joined.shared_lengths,
        targets=joined.targets,
        turn_bounds=turn_bounds,
        turn_end=joined.turn_ends,
        turn_targets=joined.turn_targets,
    )
