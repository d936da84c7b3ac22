"""How much room a sequence takes in its pack, and how long one may be."""

import numpy as np

from nemotron.data_prep.config import DataPrepConfig


def pad_length(length: np.ndarray, multiple: int) -> np.ndarray:
    """Return the tokens that a sequence takes in its pack.

    What is fed of it, all but the last, is a multiple of `multiple`.
    """
    return -(-(length - 1) // multiple) * multiple + 1


def longest_sequence(pack_size: int, multiple: int) -> int:
    """Return the longest sequence that still fits into a pack when padded."""
    return (pack_size - 1) // multiple * multiple + 1


def limit(config: DataPrepConfig) -> int:
    """Return the longest sequence that is kept whole, in tokens."""
    longest = longest_sequence(config.pack_size, config.pad_to_multiple)
    return min(longest, config.max_doc_tokens or longest)
