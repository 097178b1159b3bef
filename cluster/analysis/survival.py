"""Times to a target, some of them censored: runs that missed the target within their cap count too. Pure.

The mean over the successful runs is not offered, because it rewards a batch size for losing its slow runs. Every
function takes the `times` of all runs, in one unit, and whether each run `reached` the target. The time of a run that
missed it is how long that run was observed. A diverged run would never have reached the target: give it the common cap
as its time, except in `expected_running_time`, which needs what the run really spent.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class KaplanMeier:
    """The share of runs still short of the target after each time at which a run reached it.

    `median` is the first time at which that share is a half or less; None if fewer than half of the runs reached it.
    """

    times: tuple[float, ...]
    survival: tuple[float, ...]
    median: float | None


@dataclass(frozen=True)
class Success:
    """How many of the runs reached the target, and the Wilson interval of that rate."""

    reached: int
    runs: int
    rate: float
    low: float
    high: float


def kaplan_meier(times: Sequence[float], reached: Sequence[bool]) -> KaplanMeier:
    """The Kaplan-Meier estimate of the time to the target.

    Raises:
        ValueError: No run, or times and flags differ in number.
    """
    spent, came = _arrays(times, reached)
    if not came.any():
        return KaplanMeier((), (), None)
    # Importing it takes a second, and a study without a target does not need it.
    from scipy import stats

    sample = stats.CensoredData(uncensored=spent[came], right=spent[~came])
    curve = stats.ecdf(sample).sf
    events = np.unique(spent[came])
    survival = curve.evaluate(events)
    # The estimate is a product of fractions, so a half comes out as 0.5000000000000001.
    half = np.flatnonzero(survival <= 0.5 + 1e-12)
    median = float(events[half[0]]) if half.size else None
    return KaplanMeier(tuple(events.tolist()), tuple(survival.tolist()), median)


def restricted_mean(times: Sequence[float], reached: Sequence[bool], tau: float) -> float:
    """The mean time within the first `tau` (RMST): the area under the Kaplan-Meier curve up to there.

    Beyond the last known time the curve is taken as flat, which never makes the mean look better than it is.
    """
    curve = kaplan_meier(times, reached)
    inside = [time for time in curve.times if time < tau]
    widths = np.diff([0.0, *inside, tau])
    return float(widths @ [1.0, *curve.survival[: len(inside)]])


def expected_running_time(times: Sequence[float], reached: Sequence[bool]) -> float:
    """All time spent over the number of successes (ERT): what one success costs with restarts; inf without any.

    Auger and Hansen 2005, as in COCO.
    """
    spent, came = _arrays(times, reached)
    return float(spent.sum() / came.sum()) if came.any() else math.inf


def success(reached: Sequence[bool], confidence: float = 0.95) -> Success:
    """The success rate of runs and its Wilson interval.

    Raises:
        ValueError: No run.
    """
    came, runs = sum(map(bool, reached)), len(reached)
    if not runs:
        raise ValueError("there are no runs, so there is no success rate")
    from scipy import stats

    interval = stats.binomtest(came, runs).proportion_ci(confidence, method="wilson")
    return Success(came, runs, came / runs, float(interval.low), float(interval.high))


def _arrays(times: Sequence[float], reached: Sequence[bool]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    spent, came = np.asarray(times, np.float64), np.asarray(reached, np.bool_)
    if not spent.size or spent.shape != came.shape or not np.isfinite(spent).all():
        raise ValueError(f"{spent.size} times with {came.size} flags: every run needs one flag and one finite time")
    return spent, came
