"""The loss mask: which tokens are trained."""

import numpy as np


def loss_mask(ids: np.ndarray, chunk_lengths: np.ndarray, supervised: np.ndarray, end_id: int) -> np.ndarray:
    """1 for the tokens of supervised chunks up to and including the last `end_id`, 0 everywhere else.

    What a chunk holds after its end-of-turn token (the template's newline) is not a target worth learning: at
    inference generation has stopped there. A supervised chunk without `end_id` is trained to its end.

    `ids` is flat [tokens] int32, `chunk_lengths` int64 [chunks] (their sum is the number of tokens), `supervised`
    bool [chunks]. Returns uint8 [tokens], not yet rolled.
    """
    ends = np.cumsum(chunk_lengths)
    trained_until = ends.copy()
    end_positions = np.flatnonzero(ids == end_id)
    # Positions ascend, so of several in one chunk the last one assigned stays.
    trained_until[np.searchsorted(ends, end_positions, side="right")] = end_positions + 1
    untrained = np.where(supervised, ends - trained_until, chunk_lengths)
    # In turn, for every chunk: how many ones, how many zeros.
    runs = np.stack([chunk_lengths - untrained, untrained], axis=1)
    return np.repeat(np.tile(np.array([1, 0], np.uint8), len(ends)), runs.ravel())
