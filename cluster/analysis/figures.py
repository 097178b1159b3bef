"""A cell in figures, from its runs: losses, costs, speed and memory, as means with their intervals. Pure.

Times and speeds are medians: one run beside other work can take ten times as long, and says nothing of the batch size.
"""

import math
from dataclasses import dataclass

import numpy as np

from cluster.analysis.cells import Cell
from cluster.analysis.noise_scale import pooled
from cluster.analysis.paired import Interval, interval
from cluster.analysis.reach import CellReach
from cluster.analysis.refusals import usable
from cluster.study.chosen_rates import Choice


@dataclass(frozen=True, kw_only=True)
class CellVerdict:
    """A cell in figures: means over the completed runs (None: none completed), its reach, and whether it is `usable`.

    `rates` maps each rate tried to its mean loss in the screen, and `choice` is what the screen chose from them.
    Nothing is concluded from an unusable cell, except that one with a diverged run may still be worse. `seeds` counts
    the planned seeds and `completed` those with a completed run; `missing` counts the others by state (see
    `Cell.missing`). `worst_above_mean` is how far the highest loss lies above the mean. `seconds` and `usd` are for one
    whole run, everything included. `peak_memory_bytes` is the lowest peak of the processes that ran this cell. It is an
    upper bound: a lane's process keeps what earlier trials took. `noise_scale` is pooled over the runs
    (`cluster.analysis.noise_scale`).
    """

    global_batch: int
    learning_rate: float
    rates: dict[float, float]
    choice: Choice | None
    at_edge: bool
    tuned: bool
    usable: bool
    seeds: int
    completed: int
    missing: dict[str, int]
    reliable: bool
    loss: Interval | None
    worst_above_mean: float | None
    test_loss: Interval | None
    test_accuracy: Interval | None
    updates: float | None
    examples_per_second: float | None
    seconds: float | None
    usd: float | None
    micro_batch: int | None
    peak_memory_bytes: int | None
    noise_scale: float | None
    noise_scale_at_least: float | None
    reach: CellReach | None


def figures(cell: Cell, reached: CellReach | None, *, learnt: bool) -> CellVerdict:
    """The figures of a cell; `learnt` is false if nothing was learnt, so that nothing is concluded from it."""
    rows = [run.row for run in cell.runs if run.completed]

    def mean(name: str) -> float | None:
        values = [row[name] for row in rows]
        return float(np.mean(values)) if values and None not in values else None

    def middle(name: str) -> float | None:
        values = [row[name] for row in rows]
        return float(np.median(values)) if values and None not in values else None

    def known(name: str) -> list[float]:
        return [row[name] for row in rows if row[name] is not None and math.isfinite(row[name])]

    def spread(name: str) -> Interval | None:
        return interval(values) if (values := known(name)) else None

    seconds = [(row["ended_at"] - row["started_at"]).total_seconds() for row in rows]
    costs = [run.cost_usd for run in cell.runs if run.completed]
    peaks = [row["peak_memory_bytes"] for row in rows if row["peak_memory_bytes"] is not None]
    losses, noise = spread("best_validation_loss"), pooled(rows)
    return CellVerdict(
        global_batch=cell.global_batch,
        learning_rate=cell.learning_rate,
        rates=dict(cell.rates),
        choice=cell.choice,
        at_edge=cell.at_edge,
        tuned=cell.tuned,
        usable=learnt and usable(cell) and cell.reliable,
        seeds=len(cell.planned),
        completed=len(rows),
        missing=cell.missing,
        reliable=cell.reliable,
        loss=losses,
        worst_above_mean=max(known("best_validation_loss")) - losses.mean if losses else None,
        test_loss=spread("test_loss"),
        test_accuracy=spread("test_accuracy"),
        updates=mean("updates"),
        examples_per_second=middle("examples_per_second"),
        seconds=float(np.median(seconds)) if seconds else None,
        usd=float(np.mean([cost for cost in costs if cost is not None])) if costs and None not in costs else None,
        micro_batch=max((row["micro_batch"] for row in rows if row["micro_batch"] is not None), default=None),
        peak_memory_bytes=min(peaks, default=None),
        noise_scale=noise.scale,
        noise_scale_at_least=noise.at_least,
        reach=reached,
    )
