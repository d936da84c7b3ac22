"""Split conversations into train, valid and test by their content.

The same conversation always goes to the same split, whatever the order of the rows, the number of shards or the other
datasets of the blend. So duplicates are never in two splits.
"""

from collections.abc import Sequence

import numpy as np

ENOUGH_FOR_EVERY_SPLIT = 100  # conversations


def assign_splits(hashes: np.ndarray, ratios: Sequence[float]) -> np.ndarray:
    """Return the split of each conversation, as an index into SPLITS.

    `hashes` are 64 bits of each conversation's content hash (uint64). As a fraction of 2**64, a hash falls into the
    interval of one split; the intervals are as wide as the `ratios` of train, valid and test, which sum to 1.

    With 100 conversations or more, no split with a ratio above 0 stays empty: the conversation whose hash is nearest to
    the empty interval moves there, with its duplicates.

    Returns:
        int8 [conversations].
    """
    bounds = np.cumsum(ratios)[:-1]
    fractions = (hashes >> np.uint64(11)).astype(np.float64) / 2.0**53  # as many bits as a float represents exactly
    assigned = np.searchsorted(bounds, fractions, side="right").astype(np.int8)
    if len(hashes) >= ENOUGH_FOR_EVERY_SPLIT:
        for split, ratio in enumerate(ratios):
            if ratio > 0 and not (assigned == split).any():
                _move_nearest(assigned, hashes, fractions, split, ratios)
    return assigned


def _move_nearest(
    assigned: np.ndarray, hashes: np.ndarray, fractions: np.ndarray, split: int, ratios: Sequence[float]
) -> None:
    """Move the conversation nearest to the middle of a split's interval to that split.

    It is taken from a split that keeps at least one.
    """
    middle = sum(ratios[:split]) + ratios[split] / 2
    for candidate in np.argsort(np.abs(fractions - middle), kind="stable"):
        same_content = hashes == hashes[candidate]
        if (assigned == assigned[candidate]).sum() > same_content.sum():
            assigned[same_content] = split
            return
