"""Seconds per update from blocks of updates: the median, its quartiles and the spread of the blocks. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Seconds per update: median and quartiles over blocks; `variation` is their standard deviation over their mean."""

    median: float
    low: float
    high: float
    variation: float


def timing(seconds_per_update: Sequence[float]) -> Timing:
    """The timing of some blocks, at least one, each given as its mean seconds per update."""
    low, median, high = np.percentile(seconds_per_update, [25, 50, 75])
    spread = float(np.std(seconds_per_update, ddof=1)) if len(seconds_per_update) > 1 else 0.0
    return Timing(
        median=float(median), low=float(low), high=float(high), variation=spread / float(np.mean(seconds_per_update))
    )
