"""The curves of a group on each clock: every run, the mean of each batch size, and their ranking at equal clocks.

Pure. The clocks are those of a Curve, and epochs.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np

from cluster.analysis.cells import Cell, Floats, Run
from cluster.analysis.paired import Interval, interval
from cluster.report.page.facts import Group
from cluster.report.page.recorded import RUNNING, TRIED, Recorded

CLOCKS = ("updates", "examples", "epochs", "seconds")


@dataclass(frozen=True, kw_only=True)
class Series:
    """A batch size on one clock: each run, and the `mean` of the runs at the updates where all of them were evaluated.

    All hold positions and losses of the same length. `running` are the trials that have not ended; where nothing counts
    yet, those that look for a learning rate are in `runs`.
    """

    batch: int
    mean: tuple[Floats, Floats] | None
    runs: tuple[tuple[Floats, Floats], ...]
    running: tuple[tuple[Floats, Floats], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Rank:
    """A batch size at an equal budget: the mean of its runs' best losses with its 95 % interval."""

    batch: int
    loss: Interval
    usable: bool


@dataclass(frozen=True, kw_only=True)
class Clock:
    """A group on one clock: the curves of its cells, and `ranks`, best first, with `most` of the clock for each run."""

    name: str
    series: tuple[Series, ...]
    most: float
    ranks: tuple[Rank, ...]


def clocks(group: Group) -> dict[str, Clock]:
    """A group on every clock, by name."""
    return {name: _clock(group, name) for name in CLOCKS}


def early(trials: Sequence[Recorded]) -> dict[str, Clock]:
    """Running trials of which nothing has ended, on every clock."""
    batches = sorted({one.curve for one in trials})
    return {
        name: Clock(name=name, series=tuple(_early(batch, trials, name) for batch in batches), most=math.nan, ranks=())
        for name in CLOCKS
    }


def compared(trials: Sequence[Recorded]) -> dict[str, Clock]:
    """Trials by their `curve`, on every clock, without a ranking: a mean for each curve that has runs that ended."""
    return {name: _compared(trials, name) for name in CLOCKS}


def _compared(trials: Sequence[Recorded], clock: str) -> Clock:
    series = []
    for curve in sorted({one.curve for one in trials}):
        ended = [one for one in trials if one.curve == curve and one.kind != RUNNING]
        known = [one for one in ended if np.isfinite(one.clock(clock)).all()]
        points = [(one.evaluations["update"], one.clock(clock), one.evaluations["validation_loss"]) for one in known]
        runs = tuple((at, losses) for _, at, losses in points)
        running = _early(curve, trials, clock).running
        series.append(Series(batch=curve, mean=_shared(points) if points else None, runs=runs, running=running))
    return Clock(name=clock, series=tuple(series), most=math.nan, ranks=())


def _clock(group: Group, name: str) -> Clock:
    found = {cell.global_batch: _series(cell, name) for cell in group.cells}
    if not any(one.runs for one in found.values()):
        tried = [one for one in group.trials if one.kind == TRIED]
        found = {batch: replace(one, runs=_curves(batch, tried, name)) for batch, one in found.items()}
    for batch in sorted({one.batch for one in group.trials if one.kind == RUNNING}):
        known = found.get(batch) or Series(batch=batch, mean=None, runs=())
        found[batch] = replace(known, running=_early(batch, group.trials, name).running)
    most, ranks = _ranking(group, name)
    series = tuple(found[batch] for batch in sorted(found) if found[batch].runs or found[batch].running)
    return Clock(name=name, series=series, most=most, ranks=tuple(ranks))


def _early(batch: int, trials: Sequence[Recorded], clock: str) -> Series:
    running = [one for one in trials if one.kind == RUNNING]
    return Series(batch=batch, mean=None, runs=(), running=_curves(batch, running, clock))


def _curves(batch: int, trials: Sequence[Recorded], clock: str) -> tuple[tuple[Floats, Floats], ...]:
    of_batch = [one for one in trials if one.curve == batch and np.isfinite(one.clock(clock)).all()]
    return tuple((one.clock(clock), one.evaluations["validation_loss"]) for one in of_batch)


def positions(run: Run, clock: str) -> Floats:
    """The positions of a run's evaluations on a clock."""
    if clock == "epochs":
        return run.curve.examples * _epochs_an_example(run)
    found: Floats = getattr(run.curve, clock)
    return found


def _epochs_an_example(run: Run) -> float:
    examples, epochs = run.row["examples"], run.row["epochs"]
    return epochs / examples if examples and epochs else math.nan


def _series(cell: Cell, clock: str) -> Series:
    runs = [run for run in cell.runs if run.curve.updates.size and np.isfinite(positions(run, clock)).all()]
    whole = [run for run in runs if run.completed]
    return Series(
        batch=cell.global_batch,
        mean=_mean(whole, clock) if whole else None,
        runs=tuple((positions(run, clock), run.curve.losses) for run in runs),
    )


def _mean(runs: list[Run], clock: str) -> tuple[Floats, Floats]:
    return _shared([(run.curve.updates, positions(run, clock), run.curve.losses) for run in runs])


def _shared(runs: Sequence[tuple[Floats, Floats, Floats]]) -> tuple[Floats, Floats]:
    """The mean positions and losses at the updates at which all of some runs were evaluated."""
    common = reduce(np.intersect1d, [updates for updates, _, _ in runs])
    chosen = [np.isin(updates, common) for updates, _, _ in runs]
    places = [at[shared] for (_, at, _), shared in zip(runs, chosen, strict=True)]
    losses = [values[shared] for (_, _, values), shared in zip(runs, chosen, strict=True)]
    return np.mean(places, axis=0), np.mean(losses, axis=0)


def _ranking(group: Group, clock: str) -> tuple[float, list[Rank]]:
    """The least of the clock that a run had, and the cells ranked by their completed runs' mean best loss up to there.

    These are means without a claim; only the verdict draws conclusions about batch sizes.
    """
    known = "examples" if clock == "epochs" else clock
    runs = {cell.global_batch: [run for run in cell.runs if math.isfinite(run.best_loss())] for cell in group.cells}
    ends = [positions(run, known)[-1] for of_one in runs.values() for run in of_one]
    if not ends:
        return math.nan, []
    most = float(min(ends))
    usable = {cell.global_batch: cell.usable for cell in group.verdict.cells}
    ranks = []
    for batch, of_one in runs.items():
        losses = [loss for run in of_one if math.isfinite(loss := run.best_loss(known, most))]
        if losses:
            ranks.append(Rank(batch=batch, loss=interval(losses), usable=usable[batch]))
    if clock == "epochs":
        [first, *_] = [run for of_one in runs.values() for run in of_one]
        most *= _epochs_an_example(first)
    return most, sorted(ranks, key=lambda one: (one.loss.mean, one.batch))


def thin(at: Floats, values: Floats, width: float = 2.0) -> list[int]:
    """The indices to draw: the lowest and highest in each `width`. `at` and `values` are positions in the drawing."""
    columns = np.floor(at / width)
    cuts = [0, *(np.flatnonzero(np.diff(columns)) + 1).tolist(), len(at)]
    kept = {0, len(at) - 1}
    for start, stop in itertools.pairwise(cuts):
        kept |= {start + int(values[start:stop].argmin()), start + int(values[start:stop].argmax())}
    return sorted(kept)
