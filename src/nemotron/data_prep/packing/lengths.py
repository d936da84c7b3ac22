"""Compute how much room a sequence takes in a pack, and how long it may be."""

import numpy as np

from nemotron.data_prep.config import DataPrepConfig


def pad_length(length: np.ndarray, multiple: int) -> np.ndarray:
    """Return the number of tokens that a sequence takes in its pack.

    All tokens but the last are model inputs, and their number is padded to a multiple of `multiple`.
    """
    return -(-(length - 1) // multiple) * multiple + 1


def find_longest_sequence(pack_size: int, multiple: int) -> int:
    """Return the length of the longest sequence that fits in a pack when padded."""
    return (pack_size - 1) // multiple * multiple + 1


def find_limit(config: DataPrepConfig) -> int:
    """Return the length of the longest sequence that is not cut, in tokens."""
    longest = find_longest_sequence(config.pack_size, config.pad_to_multiple)
    return min(longest, config.max_doc_tokens or longest)
