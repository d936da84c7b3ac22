"""Reduce the points of a curve without changing how it looks."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def subsample(x: Floats, y: Floats, most: int) -> tuple[Floats, Floats]:
    """Reduce a curve to at most `most` points that keep its extremes.

    The points are divided into runs of equal length. Each run keeps its lowest and highest point, and the curve keeps
    its first and last.

    Args:
        x, y: A curve, all finite.
        most: The number of points to keep, at least 4.
    """
    if len(x) <= most:
        return x, y
    borders = np.linspace(0, len(x), (most - 2) // 2 + 1).astype(int)
    runs = [(start, y[start:end]) for start, end in pairwise(borders)]
    kept = {0, len(x) - 1}
    for start, values in runs:
        kept |= {int(start + values.argmin()), int(start + values.argmax())}
    index = np.fromiter(sorted(kept), dtype=int)
    return x[index], y[index]


def running_mean(x: Floats, y: Floats, points: int = 200) -> tuple[Floats, Floats]:
    """Average a curve over windows of a hundredth of its points.

    Args:
        x, y: A curve, all finite, of at least `points` points.
        points: The number of points of the result.

    Returns:
        The means, each at the middle of its window. Windows are shorter near the ends of the curve.
    """
    middle = np.linspace(0, len(y) - 1, points).astype(int)
    half = max(1, len(y) // 200)
    first, last = np.maximum(middle - half, 0), np.minimum(middle + half + 1, len(y))
    sums = np.concatenate([[0.0], np.cumsum(y)])
    return x[middle], (sums[last] - sums[first]) / (last - first)
