"""Fewer points for the same picture."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def subsample(x: Floats, y: Floats, most: int) -> tuple[Floats, Floats]:
    """Reduce a curve to at most `most` points that keep its extremes.

    The points are cut into runs of equal length; of each its lowest and its highest point stay, and of the curve its
    first and last.

    Args:
        x, y: a curve, all finite.
        most: of the points; at least 4.
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
