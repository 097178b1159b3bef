"""Updates to the target against batch size: the knee, B20, and the slope from each batch size to the next. Pure.

They describe a constant learning rate. Under a schedule that ends with the budget, when a run crosses the target
depends on how long it was to run, so that knee and B20 would be those of the schedule.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from cluster.analysis import critical_batch
from cluster.analysis.cells import Cell
from cluster.analysis.critical_batch import B20, Knee
from cluster.analysis.reach import CellReach


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """The knee and B20 (None: not known), and the slopes of log(updates) from each batch size to the next.

    There is no B20 where the points are too far from the law: a curve that bends up and down has no such limit.
    """

    knee: Knee | None = None
    b20: B20 | None = None
    slopes: Mapping[int, float] = field(default_factory=dict)


def scaling(cells: Sequence[Cell], reaches: Mapping[int, CellReach], schedule: str) -> Scaling:
    """What the cells' updates and examples to the target show, at this schedule of the learning rate."""
    if schedule != "constant":
        return Scaling(knee=Knee(reason=f"with schedule {schedule}, crossings depend on the length of the run"))
    found = {cell.global_batch: reaches[cell.global_batch] for cell in cells if cell.global_batch in reaches}
    whole = {batch: one for batch, one in found.items() if one.every_run}
    if len(whole) < 2:
        return Scaling()
    seeds = sorted(set.intersection(*({run.seed for run in one.deciding} for one in found.values())))
    by_seed = [
        [
            next(run.updates if run.reached else math.inf for run in one.deciding if run.seed == seed)
            for one in found.values()
        ]
        for seed in seeds
    ]
    updates = {batch: _geometric([run.updates for run in one.deciding]) for batch, one in whole.items()}
    examples = [
        _geometric([run.examples for run in one.deciding]) if one.every_run else math.inf for one in found.values()
    ]
    slopes = critical_batch.local_slopes(list(updates), list(updates.values()))
    knee = critical_batch.identify(list(found), by_seed) if seeds else None
    misshapen = knee is not None and knee.law is not None and knee.law.largest_residual > critical_batch.RESIDUAL
    return Scaling(
        knee=knee,
        b20=None if misshapen else critical_batch.b20(list(found), examples),
        slopes=dict(zip(updates, slopes, strict=False)),
    )


def _geometric(values: Sequence[float]) -> float:
    return float(np.exp(np.mean(np.log(values))))
