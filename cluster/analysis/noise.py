"""The noise of a training: how much its loss varies over seeds, and what paired seeds can tell of that size. Pure.

The deviation of so few runs is itself uncertain, so it comes with an upper bound. The runs are of one batch size; two
batch sizes compared on the same seeds differ less where a seed's part is common to both, which one cannot tell. So the
differences here assume that nothing is common: a paired difference then deviates by sqrt(2) times as much as a run.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaincinv

from cluster.analysis.power import decidable, detectable

PAIRS = (5, 10, 20)
_CONFIDENCE = 0.8


@dataclass(frozen=True, kw_only=True)
class Noise:
    """The deviation of a run's best validation loss over `seeds` seeds, with its upper bound of 80 % confidence.

    `detectable` and `decidable` map numbers of paired seeds to the smallest true difference that they detect, and the
    smallest margin within which they show equality, each with a chance of 80 % at a single look.
    """

    seeds: int
    mean: float
    deviation: float
    deviation_at_most: float
    detectable: dict[int, float]
    decidable: dict[int, float]


def noise_of(losses: Sequence[float]) -> Noise:
    """The noise in the losses of runs that differ only in their seed.

    Raises:
        ValueError: Fewer than three losses, or one that is not finite.
    """
    if len(losses) < 3 or not all(map(math.isfinite, losses)):
        raise ValueError(f"{len(losses)} losses: noise needs at least three, all finite")
    deviation = float(np.std(losses, ddof=1))
    paired = math.sqrt(2) * deviation
    return Noise(
        seeds=len(losses),
        mean=float(np.mean(losses)),
        deviation=deviation,
        deviation_at_most=deviation * bound_of(len(losses)),
        detectable={pairs: detectable(pairs, paired) for pairs in PAIRS},
        decidable={pairs: decidable(pairs, paired) for pairs in PAIRS},
    )


def bound_of(seeds: int) -> float:
    """The upper bound of a deviation over the one measured with so many seeds, by the chi-squared distribution."""
    return math.sqrt((seeds - 1) / (2 * float(gammaincinv((seeds - 1) / 2, 1 - _CONFIDENCE))))
