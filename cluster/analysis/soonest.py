"""Which batch sizes may be the soonest to reach the target: a set that holds the true one with 95 %. Pure.

Naming the fastest on average needs evidence that the others are slower. So the answer is a set, after Gupta (1965) and
Hsu (1981): a batch size leaves it if some other one is faster in a one-sided paired t test of the logs at
5 % / (K - 1), for K batch sizes. What stays holds the truly soonest with at least 95 %, however many there are.

A batch size takes part if at least half of its completed runs reached the target. A run that missed it is given the cap
of all that take part: the least that one of their runs had spent when it missed. Whatever took longer is given it too,
because what a run of the other batch size would have done after its cap is not known. Batch sizes with a diverged run
are left out by the caller.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy.special import stdtr

from cluster.analysis.paired import Interval, interval, log_ratio
from cluster.analysis.reach import CellReach
from cluster.study.looks import ALPHA, FEWEST_PAIRS

Times = Mapping[int, float]


@dataclass(frozen=True, kw_only=True)
class Soonest:
    """The set of batch sizes that holds the soonest in one measure with 95 %, and how far behind the others are.

    `expected` has each batch size's expected running time with restarts (None: no run reached the target). `ratios`
    compares the set's fastest, `fastest`, with each batch size that left; the intervals hold together with 95 %. They
    are upper bounds for batch sizes in `censored`, of which some run did not reach the target. Most runs of those in
    `rarely` did not, so that they take no part.
    """

    measure: str
    candidates: tuple[int, ...]
    fastest: int
    expected: dict[int, float | None]
    ratios: dict[int, Interval]
    censored: tuple[int, ...]
    rarely: tuple[int, ...]


def soonest(reaches: Mapping[int, CellReach], measure: str) -> Soonest | None:
    """The set for one measure; None where it is not known, or most runs of every batch size with three missed."""
    measured = {
        batch: one
        for batch, one in reaches.items()
        if one.measures[measure] is not None and len(one.deciding) >= FEWEST_PAIRS
    }
    shown = {batch: one for batch, one in measured.items() if _mostly_came(one)}
    if len(measured) < 2 or not shown:
        return None
    times = _capped(shown, measure)
    if any(time <= 0 for of_cell in times.values() for time in of_cell.values()):
        return None
    stays = remaining(times)
    # Among equals, as where all are at the cap, the batch size with more successes is the faster one.
    fastest = min(stays, key=lambda batch: (_log_mean(times[batch]), -shown[batch].success.rate, batch))
    pairs = max(1, len(shown) * (len(shown) - 1) // 2)
    left = [batch for batch in shown if batch not in stays]
    expected = {batch: one.measures[measure] for batch, one in shown.items()}
    return Soonest(
        measure=measure,
        candidates=stays,
        fastest=fastest,
        expected={batch: reach.expected if reach else None for batch, reach in expected.items()},
        ratios={batch: _ratio(times[fastest], times[batch], 1 - ALPHA / pairs) for batch in left},
        censored=tuple(batch for batch in left if not shown[batch].every_run),
        rarely=tuple(batch for batch in measured if batch not in shown),
    )


def remaining(times: Mapping[int, Times]) -> tuple[int, ...]:
    """The cells that no other one is shown to be faster than, given the time of each seed."""
    slower = {
        one
        for one, other in itertools.permutations(times, 2)
        if p_slower(times[one], times[other]) <= ALPHA / (len(times) - 1)
    }
    return tuple(cell for cell in times if cell not in slower)


def p_slower(one: Times, other: Times) -> float:
    """The one-sided p-value of the first being as fast as the other, paired by seed; 1 for fewer than three pairs."""
    seeds = one.keys() & other.keys()
    if len(seeds) < FEWEST_PAIRS:
        return 1.0
    found = interval([math.log(one[seed] / other[seed]) for seed in sorted(seeds)])
    if not found.deviation:
        return 0.0 if found.mean > 0 else 1.0
    return float(stdtr(found.pairs - 1, -found.mean / found.deviation * math.sqrt(found.pairs)))


def _mostly_came(reach: CellReach) -> bool:
    return 2 * sum(run.reached for run in reach.deciding) >= len(reach.deciding)


def _capped(reaches: Mapping[int, CellReach], measure: str) -> dict[int, dict[int, float]]:
    """The time of each completed run by seed, at most the least at which one had missed the target."""
    missed = [getattr(run, measure) for one in reaches.values() for run in one.deciding if not run.reached]
    cap = min(missed, default=math.inf)
    return {
        batch: {run.seed: min(getattr(run, measure), cap) if run.reached else cap for run in one.deciding}
        for batch, one in reaches.items()
    }


def _log_mean(times: Times) -> float:
    return math.fsum(math.log(time) for time in times.values()) / len(times)


def _ratio(fast: Times, slow: Times, confidence: float) -> Interval:
    seeds: Sequence[int] = sorted(fast.keys() & slow.keys())
    return log_ratio([fast[seed] for seed in seeds], [slow[seed] for seed in seeds], confidence)
