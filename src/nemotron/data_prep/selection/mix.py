"""How many conversations of each dataset the mix takes, from their weights."""

from collections.abc import Sequence

import numpy as np


def mix_counts(
    available: Sequence[int],
    weights: Sequence[float | None],
    *,
    repeats: Sequence[bool] | None = None,
    samples: int | None = None,
) -> list[int]:
    """Count the conversations of each dataset in the mix, and the low-effort ones.

    See `mix_counts`.

    Without `samples` it is the largest mix that repeats nothing but what may repeat. Without weights that is
    everything. With weights the dataset that runs out first limits the others, so that the shares are as asked to
    within one conversation; datasets that may repeat do not limit, unless all may: then each is used at least once.

    With `samples` it is as many as that in all, split by weight, or by size when there are no weights. Datasets that
    have nothing to give do not count.

    Raises:
        UnreachableMix: `samples` needs more of a dataset than there is.
    """
    may_repeat = np.array(repeats if repeats is not None else [False] * len(available))
    counts = np.array(available, np.int64)
    weighted = all(weight is not None for weight in weights)
    if not counts.any() or (samples is None and not weighted):
        return counts.tolist()
    shares = np.array(weights, float) * (counts > 0) if weighted else counts.astype(float)
    # Sums of large weights would be infinite. Powers of two scale without rounding: the mix stays what it was.
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

    `most` samples in all can be had.
    """

    def __init__(self, number: int, asked: int, most: int) -> None:
        super().__init__(f"dataset {number}: {asked} asked, {most} samples can be had")
        self.number, self.asked, self.most = number, asked, most


def _apportion(shares: np.ndarray, total: int) -> np.ndarray:
    """Divide `total` things in these shares.

    Each is rounded down, and what is left goes to those with the largest remainders.
    """
    exact = shares * total
    counts = np.floor(exact + 1e-9).astype(np.int64)
    by_remainder = np.argsort(counts - exact, kind="stable")
    counts[by_remainder[: total - counts.sum()]] += 1
    return counts
