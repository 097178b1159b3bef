"""Arms: the cells compared at equal updates, examples or seconds, cut at the least that any run had of it. Pure."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cluster.analysis.cells import Cell
from cluster.analysis.paired import interval
from cluster.analysis.reach import CLOCKS
from cluster.study.looks import ALPHA, FEWEST_PAIRS


@dataclass(frozen=True, kw_only=True)
class Arm:
    """The mean loss of each batch size while `clock` was at most `most`."""

    clock: str
    most: float
    losses: dict[int, float]


def arms_of(cells: Sequence[Cell]) -> tuple[Arm, ...]:
    """One arm for each clock, limited to the run that had the least of it."""
    arms = []
    for clock in CLOCKS:
        ends = [getattr(run.curve, clock)[-1] for cell in cells for run in cell.runs if run.completed]
        if ends:
            arms.append(_arm(cells, clock, float(min(ends))))
    return tuple(arms)


def ranking_depends(cells: Sequence[Cell], arms: Sequence[Arm]) -> bool:
    """Whether two batch sizes are shown to change places between two clocks, each better at one of them.

    Only the best of each arm are compared, each pair by two paired t intervals that hold together with 95 %.
    """
    of_batch = {cell.global_batch: cell for cell in cells if cell.reliable}
    best = [
        (arm, min(kept, key=lambda batch: (arm.losses[batch], batch)))
        for arm in arms
        if (kept := of_batch.keys() & arm.losses.keys())
    ]
    pairs = [pair for pair in itertools.combinations(best, 2) if pair[0][1] != pair[1][1]]
    confidence = 1 - ALPHA / (2 * len(pairs)) if pairs else 0.0
    return any(
        _lower(of_batch[first], of_batch[second], arm, confidence)
        and _lower(of_batch[second], of_batch[first], other, confidence)
        for (arm, first), (other, second) in pairs
    )


def _arm(cells: Sequence[Cell], clock: str, most: float) -> Arm:
    means = {cell.global_batch: [run.best_loss(clock, most) for run in cell.runs if run.completed] for cell in cells}
    losses = {batch: float(np.mean(found)) for batch, found in means.items() if found}
    return Arm(clock=clock, most=most, losses=losses)


def _lower(one: Cell, other: Cell, arm: Arm, confidence: float) -> bool:
    """Whether the first cell's loss is shown to be lower in this arm."""
    theirs = {run.seed: run.best_loss(arm.clock, arm.most) for run in other.runs}
    pairs = [(run.best_loss(arm.clock, arm.most), theirs.get(run.seed, math.inf)) for run in one.runs]
    apart = [loss - their for loss, their in pairs if math.isfinite(loss) and math.isfinite(their)]
    if len(apart) < FEWEST_PAIRS:
        return False
    high = interval(apart, confidence).high
    return high is not None and high < 0
