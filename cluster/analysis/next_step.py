"""What more work would buy where a study ended undecided: the two batch sizes again, on fresh seeds. Pure.

Seeds added to a study whose confirmations began decide nothing, so the next step is a study of its own: the screen of
two batch sizes and then as many seeds as the time or the money pays for, judged at one look. Its chances are averaged
over the true differences that the measured seeds leave possible: that the true one is just what was measured would be
hopeful, all the more of the comparison that seems the easiest.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cluster.analysis.cells import Cell, Row, Run
from cluster.analysis.power import assurance, fewest_pairs
from cluster.analysis.quality import Quality
from cluster.study.looks import FEWEST_PAIRS

HOUR_SECONDS, USD = 3600.0, 5.0
MOST_SEEDS = 200


@dataclass(frozen=True, kw_only=True)
class Bought:
    """How many seeds of both batch sizes are paid for beside their screen, and the chance that they decide."""

    seeds: int
    chance: float


@dataclass(frozen=True, kw_only=True)
class NextStep:
    """The undecided comparison that fresh seeds decide most easily, and what an hour and 5 dollars buy of it.

    `seconds_seed` and `usd_seed` are those of one seed of both, with as many trials side by side as the study had;
    `seconds_screen` and `usd_screen` those of the screen. `seeds_needed` decide with 80 % (None: more than MOST_SEEDS).
    """

    global_batch: int
    reference: int
    seconds_screen: float
    seconds_seed: float
    usd_screen: float | None
    usd_seed: float | None
    hour: Bought
    dollars: Bought | None
    seeds_needed: int | None


def next_step(
    qualities: Iterable[Quality], cells: Sequence[Cell], reference: int | None, margin: float | None
) -> NextStep | None:
    """The next step of a group; None while its looks go on, without a margin, or if nothing is undecided."""
    by_batch = {cell.global_batch: cell for cell in cells}
    ended = [one for one in qualities if one.outcome == "undecided" and one.seeds == one.most_seeds and one.deviation]
    if margin is None or reference is None or not ended:
        return None
    at_once = side_by_side(run.row for cell in cells for run in (*cell.searched, *cell.runs))
    steps = [_step(one, by_batch[one.global_batch], by_batch[reference], margin, at_once) for one in ended]
    return min(
        filter(None, steps),
        key=lambda step: (step.seeds_needed or math.inf, -step.hour.chance, step.global_batch),
        default=None,
    )


def _step(one: Quality, cell: Cell, reference: Cell, margin: float, at_once: float) -> NextStep | None:
    confirmed, searched = (*cell.runs, *reference.runs), (*cell.searched, *reference.searched)
    pair = [sum(_seconds(run) for run in each.runs) / len(each.runs) for each in (cell, reference)]
    seconds = sum(map(_seconds, searched)) / at_once, sum(pair) / at_once
    if sum(pair) <= 0:
        # A clock that jumped, or a row of somebody else's: nothing can be told of what more would take.
        return None
    screened, paid = _usd(searched), _usd(confirmed)
    usd = None if screened is None or paid is None else (screened, 2 * paid / len(confirmed))
    deviation = one.deviation or 0.0

    def chance(pairs: int) -> float:
        return assurance(pairs, margin, difference=one.difference, deviation=deviation, measured_pairs=one.pairs)

    def bought(whole: float, screen: float, seed: float) -> Bought:
        seeds = max(0, min(MOST_SEEDS, int((whole - screen) / seed)))
        return Bought(seeds=seeds, chance=chance(seeds) if seeds >= FEWEST_PAIRS else 0.0)

    return NextStep(
        global_batch=cell.global_batch,
        reference=reference.global_batch,
        seconds_screen=seconds[0],
        seconds_seed=seconds[1],
        usd_screen=usd and usd[0],
        usd_seed=usd and usd[1],
        hour=bought(HOUR_SECONDS, *seconds),
        dollars=bought(USD, *usd) if usd and usd[1] else None,
        seeds_needed=fewest_pairs(chance, 0.8, MOST_SEEDS),
    )


def side_by_side(rows: Iterable[Row]) -> float:
    """How many trials ran at once on average, while any ran, from their rows of `trials`."""
    spans = sorted((row["started_at"].timestamp(), row["ended_at"].timestamp()) for row in rows)
    busy, until = 0.0, -math.inf
    for start, end in spans:
        busy += max(0.0, end - max(start, until))
        until = max(until, end)
    return sum(max(0.0, end - start) for start, end in spans) / busy if busy > 0 else 1.0


def _seconds(run: Run) -> float:
    took: float = (run.row["ended_at"] - run.row["started_at"]).total_seconds()
    return max(0.0, took)


def _usd(runs: Iterable[Run]) -> float | None:
    costs = [run.cost_usd for run in runs]
    return None if None in costs else math.fsum(cost for cost in costs if cost is not None)
