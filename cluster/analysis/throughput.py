"""The seconds of an update as a fixed cost and a cost per row. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

# The interquartile range of a normal distribution, in deviations.
_QUARTILES = 1.349


@dataclass(frozen=True)
class Throughput:
    """An update of n rows takes `seconds_fixed` + n `seconds_per_row`; neither is negative.

    `spread` is the largest relative deviation of the updates of one batch size, from their quartiles.
    """

    seconds_fixed: float
    seconds_per_row: float
    spread: float


def fit(rows: Sequence[int], seconds_by_repeat: Sequence[ArrayLike], *, compiling: int = 1) -> Throughput:
    """The cost of an update from the seconds of repeated updates at each number of `rows`.

    The first `compiling` repeats of each are left out; the medians of the others are fitted by non-negative least
    squares on relative errors, so that small batches count as much as large ones.

    Raises:
        ValueError: Fewer than two different numbers of rows, other numbers of rows and of lists, none left to time.
    """
    timed = [np.asarray(repeats, np.float64)[compiling:] for repeats in seconds_by_repeat]
    if len(timed) != len(rows) or len(set(rows)) < 2 or not all(repeats.size for repeats in timed):
        raise ValueError(f"{len(rows)} numbers of rows, two different ones, each with more than {compiling} repeats")
    low, median, high = np.transpose([np.quantile(repeats, [0.25, 0.5, 0.75]) for repeats in timed])
    costs, _ = optimize.nnls(np.stack([1 / median, np.asarray(rows) / median], axis=1), np.ones(len(rows)))
    return Throughput(float(costs[0]), float(costs[1]), float(((high - low) / median).max() / _QUARTILES))
