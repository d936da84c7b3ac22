"""Decide how much to keep of sequences that are longer than a pack."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from nemotron.data_prep.config import OverlongPolicy
from nemotron.data_prep.part_index import PartIndex
from nemotron.data_prep.selection.corpus import Corpus, CorpusPart
from nemotron.data_prep.tokenization.loss_mask import find_trained_targets
from nemotron.data_prep.tokenization.part_files import map_tokens, unmark


@dataclass(frozen=True)
class Cut:
    """How much of each sequence is kept: nothing, all, or its beginning."""

    length: np.ndarray
    """int32 [sequences], in tokens; 0 if nothing is kept."""
    targets: np.ndarray
    """int32 [sequences]: tokens the trainer learns to predict in what is kept."""


def cut_overlong(corpus: Corpus, limit: int, policy: OverlongPolicy, eos_id: int) -> Cut:
    """Cut every sequence to at most `limit` tokens, by one of these policies.

    split_turns  up to the end of the last trained turn that fits, so that no answer is cut before its <|im_end|>
    truncate     at the limit
    drop         a conversation with any sequence over the limit is dropped

    Sequences without a target are not kept.
    """
    length, targets = corpus.length.copy(), corpus.targets.copy()
    over = np.flatnonzero(length > limit)
    if policy == "split_turns":
        length[over], targets[over] = _find_last_turn(corpus, over, limit)
    elif policy == "truncate":
        length[over] = limit
        targets[over] = _count_targets(corpus, over, limit, eos_id)
    else:
        too_long = np.isin(corpus.conversation, corpus.conversation[over])
        targets[too_long] = 0
    length[targets == 0] = 0
    return Cut(length, targets)


def _find_last_turn(corpus: Corpus, over: np.ndarray, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """Find the last trained turn of each sequence that ends within `limit`.

    Args:
        corpus: Everything tokenized.
        over: The sequences, ascending.
        limit: In tokens.

    Returns:
        (end, targets so far) for each sequence in `over`, else 0.
    """
    ends, targets = np.zeros(len(over), np.int32), np.zeros(len(over), np.int32)
    for part, of_part in _by_part(corpus, over):
        numbers = over[of_part] - part.sequences.start
        ends[of_part], targets[of_part] = _find_last_turn_in(corpus.read_index(part), numbers, limit)
    return ends, targets


def _by_part(corpus: Corpus, sequences: np.ndarray) -> Iterator[tuple[CorpusPart, slice]]:
    """Yield the parts of sequences, and where in `sequences` those of each are.

    `sequences` ascend.
    """
    bounds = np.searchsorted(sequences, corpus.sequence_bounds)
    for number in np.flatnonzero(np.diff(bounds)).tolist():
        yield corpus.part(number), slice(bounds[number], bounds[number + 1])


def _find_last_turn_in(index: PartIndex, over: np.ndarray, limit: int) -> tuple[np.ndarray, np.ndarray]:
    counts = index.turn_counts[over]
    first = (np.cumsum(index.turn_counts, dtype=np.int64) - index.turn_counts)[over]
    starts = np.cumsum(counts) - counts
    turns = np.repeat(first - starts, counts) + np.arange(counts.sum())
    # Ends ascend within a sequence: those that fit come first. Every sequence has a turn, so no group is empty.
    fitting = np.add.reduceat(index.turn_ends[turns] <= limit, starts, dtype=np.int64)
    last = first + np.maximum(fitting, 1) - 1
    any_fits = fitting > 0
    return index.turn_ends[last] * any_fits, index.turn_targets[last] * any_fits


def _count_targets(corpus: Corpus, over: np.ndarray, limit: int, eos_id: int) -> np.ndarray:
    """Return the targets among the first `limit` tokens of each sequence in `over`."""
    counts = np.zeros(len(over), np.int64)
    start_of_sequence = np.zeros(1, np.int64)
    for part, of_part in _by_part(corpus, over):
        index, numbers = corpus.read_index(part), over[of_part] - part.sequences.start
        tokens = map_tokens(part.path)
        begins = index.starts()[1][numbers]
        own_limits = limit - index.shared_lengths[numbers]  # nothing of what sequences share trains
        for i, begin, own_limit in zip(range(of_part.start, of_part.stop), begins, own_limits, strict=True):
            if own_limit <= 0:
                continue
            ids, mask = unmark(tokens[begin : begin + own_limit])
            counts[i] = find_trained_targets(mask, ids, start_of_sequence, eos_id).sum(dtype=np.int64)
    return counts


def find_limit_keeping(corpus: Corpus, share: float, considered: np.ndarray) -> int:
    """Find the smallest limit under which `split_turns` keeps enough targets.

    Args:
        corpus: The sequences.
        share: Share of the targets of the considered sequences that must be kept.
        considered: bool [sequences], at least one true.
    """
    by_limit = np.zeros(1 + corpus.length.max())
    for part in corpus.each_part():
        index = corpus.read_index(part)
        gained = np.diff(index.turn_targets, prepend=np.int32(0))
        firsts = np.cumsum(index.turn_counts) - index.turn_counts
        gained[firsts] = index.turn_targets[firsts]
        turns = np.repeat(considered[part.sequences], index.turn_counts)
        counts = np.bincount(index.turn_ends[turns], gained[turns])
        by_limit[: len(counts)] += counts
    so_far = np.cumsum(by_limit)
    return int(np.searchsorted(so_far, share * so_far[-1]))
