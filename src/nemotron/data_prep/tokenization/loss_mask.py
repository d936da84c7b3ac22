"""Compute the loss mask, which says what trains, and roll it.

Rolling shifts the mask one to the left inside every sequence.
"""

import numpy as np


def loss_mask(ids: np.ndarray, chunk_lengths: np.ndarray, supervised: np.ndarray, end_id: int) -> np.ndarray:
    """Mark the tokens of supervised chunks up to the last `end_id` of each with 1.

    All other tokens get 0. What follows the end-of-turn token in a chunk (the template's newline) is not a useful
    target, because generation has stopped there at inference. A supervised chunk without `end_id` trains to its end.

    `ids` is flat [tokens] int32, `chunk_lengths` int64 [chunks] (their sum is the number of tokens), `supervised`
    bool [chunks].

    Returns:
        Uint8 [tokens], not yet rolled.
    """
    ends = np.cumsum(chunk_lengths)
    trained_until = ends.copy()
    end_positions = np.flatnonzero(ids == end_id)
    # Positions ascend, so the last assignment for a chunk is its last position.
    trained_until[np.searchsorted(ends, end_positions, side="right")] = end_positions + 1
    untrained = np.where(supervised, ends - trained_until, chunk_lengths)
    # For every chunk in turn: the number of ones, the number of zeros.
    runs = np.stack([chunk_lengths - untrained, untrained], axis=1)
    return np.repeat(np.tile(np.array([1, 0], np.uint8), len(ends)), runs.ravel())


def roll(mask: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """`rolled[j] = mask[j + 1]` within each sequence, 0 at its last token.

    Megatron-Bridge pairs the input `ids[j]` with the label `ids[j + 1]` and the weight `loss_mask[j]`
    (data/packing/gpt_sft.py), so position j must have the mask of the token that it predicts. The last token of a
    sequence predicts nothing, because the next token belongs to another sequence.

    `mask` is flat [tokens] uint8, sequences back to back; `starts` are their first positions, ascending, the first 0.

    Returns:
        A new array of the same shape and type.
    """
    rolled = np.zeros_like(mask)
    rolled[:-1] = mask[1:]
    rolled[starts[1:] - 1] = 0
    return rolled


def find_trained_targets(mask: np.ndarray, ids: np.ndarray, starts: np.ndarray, eos_id: int) -> np.ndarray:
    """Find which tokens the trainer really learns to predict.

    The result is flat [tokens] uint8, not rolled. A masked token does not train if it is the first of its sequence, or
    if the token before it is `eos_id`, because Megatron-Bridge's collator sets the loss to zero if the input token is
    eos.
    """
    targets = mask.copy()
    targets[np.flatnonzero(ids[:-1] == eos_id) + 1] = 0
    targets[starts] = 0
    return targets
