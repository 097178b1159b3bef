"""Quality: the losses of a cell against those of the reference, paired by seed, with five outcomes. Pure.

    equivalent     shown, at 5 %, to differ by less than the margin (two one-sided tests)
    worse, better  differs at 5 % among all cells compared (Holm), and the measured difference is at least the margin
    undecided      neither; `more_seeds` estimates how many more seeds would decide
    unreliable     not worse, but a planned run diverged, so that the survivors make the cell look better than it is

A difference that is real but smaller than the margin does not matter, as the user declared. One whose interval crosses
the margin is undecided, so that two runs of a study cannot easily contradict each other.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cluster.analysis.cells import Cell
from cluster.analysis.paired import equivalence, holm, interval, pairs_needed, pairs_to_detect, superiority_p

ALPHA = 0.05
Outcome = Literal["equivalent", "worse", "better", "undecided", "unreliable"]


@dataclass(frozen=True, kw_only=True)
class Quality:
    """A cell's losses minus the reference's: the mean, its 95 % and 90 % intervals, and the outcome.

    `pairs` is the number of seeds that completed in both cells; `deviation` is that of the differences.
    """

    global_batch: int
    difference: float
    low95: float | None
    high95: float | None
    low90: float | None
    high90: float | None
    deviation: float | None
    pairs: int
    p_value: float
    outcome: Outcome


def compare(
    cells: Sequence[Cell],
    reference: Cell,
    margin: float | None,
    *,
    clock: str = "updates",
    most: float = math.inf,
) -> tuple[Quality, ...]:
    """The quality of each cell that shares at least two seeds with the reference, while `clock` was at most `most`.

    The reference itself is left out. Without a margin, nothing is equivalent.
    """
    theirs = {run.seed: run.best_loss(clock, most) for run in reference.runs}
    found = []
    for cell in cells:
        pairs = [(run.best_loss(clock, most), theirs.get(run.seed, math.inf)) for run in cell.runs]
        differences = [loss - other for loss, other in pairs if math.isfinite(loss) and math.isfinite(other)]
        if cell is not reference and len(differences) >= 2:
            found.append((cell, differences))
    adjusted = holm([superiority_p(differences) for _, differences in found])
    return tuple(
        _quality(cell, differences, p_value, margin)
        for (cell, differences), p_value in zip(found, adjusted, strict=True)
    )


def _quality(cell: Cell, differences: Sequence[float], p_value: float, margin: float | None) -> Quality:
    wide, narrow = interval(differences, 0.95), interval(differences, 0.90)
    return Quality(
        global_batch=cell.global_batch,
        difference=wide.mean,
        low95=wide.low,
        high95=wide.high,
        low90=narrow.low,
        high90=narrow.high,
        deviation=wide.deviation,
        pairs=wide.pairs,
        p_value=p_value,
        outcome=_outcome(differences, wide.mean, p_value, margin, reliable=cell.reliable),
    )


def _outcome(
    differences: Sequence[float], mean: float, p_value: float, margin: float | None, *, reliable: bool
) -> Outcome:
    if p_value <= ALPHA and mean > 0 and mean >= (margin or 0.0) and not reliable:
        return "worse"
    if not reliable:
        return "unreliable"
    if margin is not None and equivalence(differences, margin).equivalent:
        return "equivalent"
    if p_value <= ALPHA and abs(mean) >= (margin or 0.0):
        return "worse" if mean > 0 else "better"
    return "undecided"


def more_seeds(quality: Quality, margin: float) -> int | None:
    """How many more pairs would probably (80 %) decide an undecided outcome; None if a thousand would not.

    This takes the measured difference as the true one: beyond the margin, the pairs would detect it; within the margin,
    they would show equivalence. A measured difference above half the margin could take thousands, so 0 is assumed then.
    """
    if not quality.deviation:
        return None
    apart = abs(quality.difference)
    if apart >= margin:
        needed = pairs_to_detect(quality.deviation, apart)
    else:
        needed = pairs_needed(quality.deviation, margin, apart if apart < margin / 2 else 0.0)
    return None if needed is None else max(1, needed - quality.pairs)
