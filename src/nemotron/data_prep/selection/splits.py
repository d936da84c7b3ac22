"""Train, valid and test.

Decided by what a conversation says, not by where it stands.

The same conversation always lands in the same split, whatever the order of the rows, the number of shards or the
other datasets of the blend; so duplicates never straddle two splits.
"""

from collections.abc import Sequence

import numpy as np

ENOUGH_FOR_EVERY_SPLIT = 100  # conversations


def assign_splits(hashes: np.ndarray, ratios: Sequence[float]) -> np.ndarray:
    """The split of each conversation, as an index into SPLITS: int8 [conversations].

    `hashes` are 64 bits of each conversation's content hash (uint64). Read as a fraction of 2**64 it falls into the
    interval of one split; the intervals are as wide as the `ratios` of train, valid and test, which sum to 1.

    From 100 conversations on no split with a ratio above 0 stays empty: the conversation whose hash is nearest to the
    empty interval moves there, with its duplicates.
    """
    bounds = np.cumsum(ratios)[:-1]
    fractions = (hashes >> np.uint64(11)).astype(np.float64) / 2.0**53  # as many bits as a float holds exactly
    assigned = np.searchsorted(bounds, fractions, side="right").astype(np.int8)
    if len(hashes) >= ENOUGH_FOR_EVERY_SPLIT:
        for split, ratio in enumerate(ratios):
            if ratio > 0 and not (assigned == split).any():
                _move_nearest(assigned, hashes, fractions, split, ratios)
    return assigned


def _move_nearest(
    assigned: np.ndarray, hashes: np.ndarray, fractions: np.ndarray, split: int, ratios: Sequence[float]
) -> None:
    """Give `split` the conversation nearest to the middle of its interval.

    It comes from a split that keeps at least one.
    """
    middle = sum(ratios[:split]) + ratios[split] / 2
    for candidate in np.argsort(np.abs(fractions - middle), kind="stable"):
        same_content = hashes == hashes[candidate]
        if (assigned == assigned[candidate]).sum() > same_content.sum():
            assigned[same_content] = split
            return
