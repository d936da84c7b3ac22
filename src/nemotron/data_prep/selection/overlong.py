"""Decide how much to keep of sequences that are longer than a pack."""

from dataclasses import dataclass

import numpy as np

from nemotron.data_prep.config import OverlongPolicy
from nemotron.data_prep.selection.corpus import Corpus
from nemotron.data_prep.tokenization.loss_mask import find_trained_targets
from nemotron.data_prep.tokenization.part_files import map_tokens


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

    Returns:
        (end, targets so far) for each sequence in `over`, else 0.
    """
    first, after = corpus.turn_bounds[over], corpus.turn_bounds[over + 1]
    counts = after - first
    starts = np.cumsum(counts) - counts
    turns = np.repeat(first - starts, counts) + np.arange(counts.sum())
    # Ends ascend within a sequence: those that fit come first. Every sequence has a turn, so no group is empty.
    fitting = np.add.reduceat(corpus.turn_end[turns] <= limit, starts, dtype=np.int64) if len(over) else counts
    last = first + np.maximum(fitting, 1) - 1
    any_fits = fitting > 0
    return corpus.turn_end[last] * any_fits, corpus.turn_targets[last] * any_fits


def _count_targets(corpus: Corpus, over: np.ndarray, limit: int, eos_id: int) -> np.ndarray:
    """Return the targets among the first `limit` tokens of each sequence in `over`."""
    counts = np.zeros(len(over), np.int64)
    start_of_sequence = np.zeros(1, np.int64)
    own_limit = limit - corpus.shared  # nothing of what sequences share trains
    for part in np.unique(corpus.part[over]):
        ids, mask = map_tokens(corpus.parts[part])
        for i in np.flatnonzero(corpus.part[over] == part):
            begin = corpus.start[over[i]]
            kept = slice(begin, begin + max(0, own_limit[over[i]]))
            if kept.stop == begin:
                continue
            counts[i] = find_trained_targets(mask[kept], ids[kept], start_of_sequence, eos_id).sum(dtype=np.int64)
    return counts


def find_limit_keeping(corpus: Corpus, share: float, considered: np.ndarray) -> int:
    """Find the smallest limit under which `split_turns` keeps enough targets.

    Args:
        share: Share of the targets of the considered sequences that must be kept.

    considered: bool [sequences], at least one true.
    """
    gained = np.diff(corpus.turn_targets, prepend=np.int32(0))
    firsts = corpus.turn_bounds[:-1]
    gained[firsts] = corpus.turn_targets[firsts]
    turns = np.repeat(considered, np.diff(corpus.turn_bounds))
    so_far = np.cumsum(np.bincount(corpus.turn_end[turns], gained[turns]))  # by limit
    return int(np.searchsorted(so_far, share * so_far[-1]))
