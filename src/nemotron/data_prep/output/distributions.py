"""Count lengths of conversations and the fill of packs, in bins and quantiles."""

from dataclasses import dataclass

import numpy as np

from nemotron.data_prep.packing.layout import PackedSplit
from nemotron.data_prep.selection.corpus import Corpus
from nemotron.data_prep.selection.overlong import Cut
from nemotron.data_prep.selection.select import Selection

MOST_BINS = 24
PACKS_AT_ONCE = 2**16
QUANTILES = {"min": 0.0, "p10": 0.1, "median": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
FILL_EDGES = [float(percent) for percent in range(0, 101, 5)]


@dataclass(frozen=True)
class Distribution:
    """The number of values in each bin."""

    edges: list[float]
    """[bins + 1]; a bin excludes its upper edge, except that the last bin includes it."""
    counts: list[int]
    """[bins], the number of values in each."""
    quantiles: dict[str, float]
    """min, p10, median, p90, p99, max."""
    mean: float
    """The mean of the values."""

    def __post_init__(self) -> None:
        if not self.counts or len(self.edges) != len(self.counts) + 1:
            raise ValueError(f"{len(self.counts)} bins have {len(self.edges)} edges")


def count_distributions(
    corpus: Corpus, cut: Cut, selection: Selection, packed: list[PackedSplit], pack_size: int
) -> dict[str, Distribution]:
    """Count conversations, sequences and packs of the output in bins.

    Conversations and sequences are counted as often as they are used.

    Returns:
        conversation_tokens       tokens of its longest sequence, which contains all of it
        conversation_supervised   supervised tokens of all its sequences
        sequence_tokens           tokens without padding
        pack_fill                 tokens in percent of the pack size, with padding
        pack_conversations        different conversations in a pack
    """
    copies = selection.copies
    tokens = np.maximum.reduceat(cut.length, _firsts(corpus))
    supervised = np.add.reduceat(cut.targets, _firsts(corpus))
    in_output = cut.length > 0
    of_sequence = copies[corpus.conversation[in_output]]
    fill = np.concatenate([split.pack_tokens() for split in packed]) * (100 / pack_size)
    conversations = np.concatenate([_conversations(split, corpus) for split in packed])
    return {
        "conversation_tokens": distribute(np.repeat(tokens, copies)),
        "conversation_supervised": distribute(np.repeat(supervised, copies)),
        "sequence_tokens": distribute(np.repeat(cut.length[in_output], of_sequence)),
        "pack_fill": distribute(fill, FILL_EDGES),
        "pack_conversations": distribute(conversations),
    }


def distribute(values: np.ndarray, edges: list[float] | None = None) -> Distribution:
    """Count values in bins.

    Args:
        values: At least one value.
        edges: The edges of the bins; None chooses them for whole numbers from 0.
    """
    edges = edges or find_edges(int(values.min()), int(values.max()))
    counts = np.histogram(values, edges)[0]
    quantiles = np.quantile(values, list(QUANTILES.values()))
    found = [round(value, 1) if values.dtype.kind == "f" else int(value) for value in quantiles.tolist()]
    return Distribution(edges, counts.tolist(), dict(zip(QUANTILES, found, strict=True)), float(values.mean()))


def find_edges(lowest: int, highest: int) -> list[float]:
    """Choose readable edges for at most MOST_BINS bins.

    Each power of two is divided into the same number of bins: 64, 80, 96, 112, 128, 160, ... A small range has one bin
    per number.
    """
    if highest - lowest < MOST_BINS:
        return [float(edge) for edge in range(lowest, highest + 2)]
    edges: list[float] = []
    for steps in (8, 4, 2, 1):
        ladder = sorted({0, *(2**octave * (steps + step) // steps for octave in range(62) for step in range(steps))})
        first = np.searchsorted(ladder, lowest, side="right") - 1
        last = np.searchsorted(ladder, highest, side="right")
        edges = [float(edge) for edge in ladder[first : last + 1]]
        if len(edges) <= MOST_BINS + 1:
            break
    return edges


def _firsts(corpus: Corpus) -> np.ndarray:
    """Return the first sequence of each conversation; every conversation has one."""
    return np.flatnonzero(np.diff(corpus.conversation, prepend=-1))


def _conversations(split: PackedSplit, corpus: Corpus) -> np.ndarray:
    """Count the different conversations in each pack, some packs at a time."""
    counts = np.zeros(split.packs, np.int64)
    for first in range(0, split.packs, PACKS_AT_ONCE):
        bounds = split.bounds[first : first + PACKS_AT_ONCE + 1]
        pack = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
        both = pack * corpus.conversations + corpus.conversation[split.sequences[bounds[0] : bounds[-1]]]
        both.sort()
        different = both[np.diff(both, prepend=-1) > 0]
        counts[first : first + len(bounds) - 1] = np.bincount(different // corpus.conversations)  # no pack is empty
    return counts
