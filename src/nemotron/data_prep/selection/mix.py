"""Compute how many conversations the mix takes of each dataset, by weight."""

from collections.abc import Sequence

import numpy as np


def mix_counts(
    available: Sequence[int],
    weights: Sequence[float | None],
    *,
    repeats: Sequence[bool] | None = None,
    samples: int | None = None,
) -> list[int]:
    """Return the number of conversations of each dataset in the mix.

    Without `samples`, this is the largest mix without repetition, except in datasets that may repeat. Without weights
    it is everything. With weights, the dataset that runs out first limits the others, so that the shares are exact to
    within one conversation. Datasets that may repeat do not limit the mix; if all of them may, each is used at least
    once. With `samples`, that is the total, split by weight, or by size without weights. Empty datasets are ignored.

    Raises:
        UnreachableMix: `samples` needs more of a dataset than there is.
    """
    may_repeat = np.array(repeats if repeats is not None else [False] * len(available))
    counts = np.array(available, np.int64)
    weighted = all(weight is not None for weight in weights)
    if not counts.any() or (samples is None and not weighted):
        return counts.tolist()
    shares = np.array(weights, float) * (counts > 0) if weighted else counts.astype(float)
    # Sums of large weights would overflow. Scaling by a power of two is exact, so the mix does not change.
    shares = np.ldexp(shares, -np.frexp(shares.max())[1])
    present = np.flatnonzero(shares)
    if samples is None:
        sizes = counts[present] / shares[present]
        limiting = sizes[~may_repeat[present]]
        largest = limiting.min() if len(limiting) else sizes.max()
        return np.floor(shares * largest + 1e-9).astype(np.int64).tolist()
    asked = _apportion(shares / shares.sum(), samples)
    for number in present:
        if asked[number] > counts[number] and not may_repeat[number]:
            reachable = counts[present][~may_repeat[present]] / shares[present][~may_repeat[present]]
            raise UnreachableMix(int(number), int(asked[number]), int(reachable.min() * shares.sum() + 1e-9))
    return asked.tolist()


class UnreachableMix(Exception):
    """A mix needs `asked` conversations of dataset `number`, which has fewer.

    The largest possible mix has `most` samples.
    """

    def __init__(self, number: int, asked: int, most: int) -> None:
        super().__init__(f"dataset {number}: {asked} asked, {most} samples can be had")
        self.number, self.asked, self.most = number, asked, most


def _apportion(shares: np.ndarray, total: int) -> np.ndarray:
    """Divide `total` in these shares.

    Each is rounded down, and the rest goes to the largest remainders.
    """
    exact = shares * total
    counts = np.floor(exact + 1e-9).astype(np.int64)
    by_remainder = np.argsort(counts - exact, kind="stable")
    counts[by_remainder[: total - counts.sum()]] += 1
    return counts
