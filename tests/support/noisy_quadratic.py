"""The noisy quadratic model (Zhang et al. 2019, 1907.04164): a training whose every expectation is known exactly.

The loss is 1/2 sum h_i x_i^2, a gradient has noise of variance noise h_i / B in direction i, and every x_i^2 starts at
an expected 1. SGD at rate a turns the expectation s_i into (1 - a h_i)^2 s_i + a^2 noise h_i / B, which has the closed
form s* + ((1 - a h_i)^2)^t (1 - s*).
"""

import bisect
import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

RATES = tuple(np.logspace(-5, 0.5, 100).tolist())
MOST_UPDATES = 10**8


def loss_after(
    updates: float,
    curvatures: NDArray[np.float64],
    *,
    batch: float,
    rate: float,
    noise: float = 1,
    guard: float = 0,
) -> float:
    """The expected loss after so many updates; inf where the rate diverges.

    A `guard` is added to the denominator of s*, as some implementations do; then the result is not exact.
    """
    kept = (1 - rate * curvatures) ** 2
    if (kept >= 1).any():
        return math.inf
    steady = rate**2 * noise * curvatures / batch / (1 - kept + guard)
    return float(curvatures @ (steady + kept**updates * (1 - steady))) / 2


def updates_to(
    target: float,
    curvatures: NDArray[np.float64],
    *,
    batch: float,
    rates: Iterable[float] = RATES,
    noise: float = 1,
    guard: float = 0,
) -> int:
    """The fewest updates to an expected loss of at most `target`, with the best of the rates."""
    fewest = MOST_UPDATES
    for rate in rates:

        def reaches(updates: int, rate: float = rate) -> bool:
            found = loss_after(updates, curvatures, batch=batch, rate=rate, noise=noise, guard=guard)
            return found <= target

        if reaches(fewest - 1):
            fewest = bisect.bisect_left(range(fewest), True, key=reaches)
    return fewest
