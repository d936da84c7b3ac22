"""All tokenized parts of a run as a few flat arrays: what the second phase decides on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nemotron.data_prep.token_parts import PartIndex, read_index


@dataclass(frozen=True)
class Corpus:
    """Conversations, their sequences and the trained turns of those, in plan order: dataset, file, part, line.

    Arrays named alike run over the same things; `*_bounds` delimit the sequences of conversation `i`, or the turns of
    sequence `i`, by `bounds[i]:bounds[i + 1]`.
    """

    parts: tuple[Path, ...]

    dataset: np.ndarray
    """int64 [conversations]: index into the plan's datasets."""
    conversation_part: np.ndarray
    """int64 [conversations]: index into `parts`."""
    line: np.ndarray
    """int64 [conversations]: line in the part, from 0."""
    hash: np.ndarray
    """uint64 [conversations, 2]: the content hash."""
    masked_count: np.ndarray
    """int64 [conversations]: sequences already left out because nothing in them would train."""
    sequence_bounds: np.ndarray
    """int64 [conversations + 1]."""

    conversation: np.ndarray
    """int64 [sequences]: index of the conversation."""
    part: np.ndarray
    """int64 [sequences]: index into `parts`."""
    start: np.ndarray
    """int64 [sequences]: position of the first token in the part."""
    length: np.ndarray
    """int64 [sequences]: tokens, uncut."""
    targets: np.ndarray
    """int64 [sequences]: tokens the trainer learns to predict, uncut."""
    turn_bounds: np.ndarray
    """int64 [sequences + 1]."""

    turn_end: np.ndarray
    """int64 [turns]: tokens from the start of the sequence to the end of the turn."""
    turn_targets: np.ndarray
    """int64 [turns]: targets of the sequence up to the end of the turn."""


def load_corpus(parts: Sequence[Path], datasets: Sequence[int]) -> Corpus:
    """Read the indices of tokenized parts; `datasets` says which dataset each part belongs to."""
    indices = [read_index(part) for part in parts]
    joined = PartIndex(*(np.concatenate(arrays) for arrays in zip(*indices, strict=True)))
    numbers = np.arange(len(parts))
    conversations_per_part = np.array([len(index.lines) for index in indices], np.int64)
    sequences_per_part = np.array([len(index.lengths) for index in indices], np.int64)
    conversation_part = np.repeat(numbers, conversations_per_part)
    position = np.cumsum(joined.lengths) - joined.lengths  # as if the parts were one file
    part_start = np.cumsum(_sum_lengths(indices)) - _sum_lengths(indices)
    return Corpus(
        parts=tuple(parts),
        dataset=np.asarray(datasets, np.int64)[conversation_part],
        conversation_part=conversation_part,
        line=joined.lines,
        hash=joined.hashes,
        masked_count=joined.masked_counts,
        sequence_bounds=_bounds(joined.sequence_counts),
        conversation=np.repeat(np.arange(len(joined.lines)), joined.sequence_counts),
        part=np.repeat(numbers, sequences_per_part),
        start=position - np.repeat(part_start, sequences_per_part),
        length=joined.lengths,
        targets=joined.targets,
        turn_bounds=_bounds(joined.turn_counts),
        turn_end=joined.turn_ends,
        turn_targets=joined.turn_targets,
    )


def _sum_lengths(indices: Sequence[PartIndex]) -> np.ndarray:
    return np.array([index.lengths.sum() for index in indices], np.int64)


def _bounds(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts)])
