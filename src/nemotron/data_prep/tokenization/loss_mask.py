"""The loss mask: which tokens are trained.

And its roll, which shifts it one to the left inside every conversation.
"""

import numpy as np


def loss_mask(ids: np.ndarray, chunk_lengths: np.ndarray, supervised: np.ndarray, end_id: int) -> np.ndarray:
    """Mark the tokens of supervised chunks, up to the last `end_id` of each.

    1 there, 0 everywhere else.

    What a chunk holds after its end-of-turn token (the template's newline) is not a target worth learning: at
    inference generation has stopped there. A supervised chunk without `end_id` is trained to its end.

    `ids` is flat [tokens] int32, `chunk_lengths` int64 [chunks] (their sum is the number of tokens), `supervised`
    bool [chunks].

    Returns:
        Uint8 [tokens], not yet rolled.
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


def roll(mask: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """`rolled[j] = mask[j + 1]` within each sequence, 0 at its last token.

    Megatron-Bridge pairs the input `ids[j]` with the label `ids[j + 1]` and the weight `loss_mask[j]`
    (data/packing/gpt_sft.py), so position j must carry the mask of the token it predicts. The last token of a
    conversation predicts nothing: what follows it belongs to another conversation.

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

    Flat [tokens] uint8, not rolled.

    A masked token is lost when nothing precedes it in its conversation, and when the token before it is `eos_id`,
    because Megatron-Bridge's collator zeroes the loss wherever the input token equals eos.
    """
    targets = mask.copy()
    targets[np.flatnonzero(ids[:-1] == eos_id) + 1] = 0
    targets[starts] = 0
    return targets
