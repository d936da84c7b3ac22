"""The loss mask as the trainer wants it: shifted one to the left inside every conversation."""

import numpy as np


def roll(mask: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """`rolled[j] = mask[j + 1]` within each sequence, 0 at its last token.

    Megatron-Bridge pairs the input `ids[j]` with the label `ids[j + 1]` and the weight `loss_mask[j]`
    (data/packing/gpt_sft.py), so position j must carry the mask of the token it predicts. The last token of a
    conversation predicts nothing: what follows it belongs to another conversation.

    `mask` is flat [tokens] uint8, sequences back to back; `starts` are their first positions, ascending, the first 0.
    Returns a new array of the same shape and type.
    """
    rolled = np.zeros_like(mask)
    rolled[:-1] = mask[1:]
    rolled[starts[1:] - 1] = 0
    return rolled


def trained_targets(mask: np.ndarray, ids: np.ndarray, starts: np.ndarray, eos_id: int) -> np.ndarray:
    """Which tokens the trainer really learns to predict: flat [tokens] uint8, not rolled.

    A masked token is lost when nothing precedes it in its conversation, and when the token before it is `eos_id`,
    because Megatron-Bridge's collator zeroes the loss wherever the input token equals eos.
    """
    targets = mask.copy()
    targets[np.flatnonzero(ids[:-1] == eos_id) + 1] = 0
    targets[starts] = 0
    return targets
