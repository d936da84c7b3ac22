"""Count the ones before given places of a long mask."""

import numpy as np

WORD = 8
"""Bytes that are added up at once."""
_EACH_BYTE = np.uint64(0x0101010101010101)


class Ones:
    """Counts the ones of a mask before places in it.

    There are far fewer places than values. So this keeps a count for every eighth value; a count for each of millions
    of values would take ten times as long.
    """

    def __init__(self, mask: np.ndarray) -> None:
        """Take a mask, uint8 [values] of 0 and 1."""
        padded = np.zeros((len(mask) // WORD + 1) * WORD, np.uint8)
        padded[: len(mask)] = mask
        self._words = padded.view("<u8")
        so_far = np.cumsum(_add_bytes(self._words), dtype=np.int64)
        self._before = np.concatenate([[0], so_far[:-1]])

    def before(self, places: np.ndarray) -> np.ndarray:
        """Count the ones before each place, int64 [places]; a place may be the end."""
        word, within = np.divmod(places, WORD)
        earlier = (np.uint64(1) << (within * 8).astype(np.uint64)) - np.uint64(1)
        return self._before[word] + _add_bytes(self._words[word] & earlier).astype(np.int64)


def _add_bytes(words: np.ndarray) -> np.ndarray:
    """Add up the eight bytes of each word, uint64; the sums fit into a byte."""
    return (words * _EACH_BYTE) >> np.uint64(56)
