"""The verdict on a study, as data: what its runs show about its batch sizes, what they cannot show, and why. Pure.

Conclusions come only from cells whose rate was tuned on other seeds, lies inside those tried, and was confirmed on two
seeds or more. The reference of all comparisons is chosen before the confirmations: it is the batch size with the lowest
loss in the screen among those without a diverged confirmation. A batch size with a diverged confirmation can only be
found worse, because its survivors make it look better than it is.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import pyarrow as pa

from cluster.analysis import critical_batch
from cluster.analysis.asked import specs_of
from cluster.analysis.caveats import Caveat, Evidence, caveats
from cluster.analysis.cells import Cell, cells_of
from cluster.analysis.critical_batch import B20, Knee
from cluster.analysis.declared import Declared, declared
from cluster.analysis.failures import Failures, failures
from cluster.analysis.learnt import groups_without_learning, guess_of
from cluster.analysis.paired import Interval, interval
from cluster.analysis.quality import Quality, compare, more_seeds
from cluster.analysis.reach import CLOCKS, MEASURES, CellReach, ratio, reach
from cluster.analysis.refusals import Cannot, nothing_shown, refusals, usable
from cluster.summary import query

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class CellVerdict:
    """A cell in figures: means over the completed runs (None: none completed), its reach, and whether it is `usable`.

    Nothing is concluded from an unusable cell, except that one with a diverged run may still be worse. `seeds` counts
    the planned seeds and `completed` those with a completed run; `missing` counts the others by state (see
    `Cell.missing`). `seconds` and `usd` are for one whole run, everything included. `peak_memory_bytes` is the lowest
    peak of the processes that ran this cell. It is an upper bound: a lane's process keeps what earlier trials took.
    """

    global_batch: int
    learning_rate: float
    rates: dict[float, float]
    at_edge: bool
    tuned: bool
    usable: bool
    seeds: int
    completed: int
    missing: dict[str, int]
    reliable: bool
    loss: Interval | None
    test_loss: Interval | None
    test_accuracy: Interval | None
    updates: float | None
    examples_per_second: float | None
    seconds: float | None
    usd: float | None
    micro_batch: int | None
    peak_memory_bytes: int | None
    noise_scale: float | None
    reach: CellReach | None


@dataclass(frozen=True, kw_only=True)
class First:
    """The batch size that reaches the target with the least of a measure, and its ratio to each other cell.

    A ratio is None where a run is censored. Cells in `not_told_apart` have no ratio, or one whose interval includes 1.
    """

    measure: str
    global_batch: int
    expected: float
    ratios: dict[int, Interval | None]
    not_told_apart: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Arm:
    """All cells compared at an equal budget of at most `most` of `clock`; both are None for each run's whole budget."""

    clock: str | None
    most: float | None
    losses: dict[int, float]
    qualities: tuple[Quality, ...]


@dataclass(frozen=True, kw_only=True)
class GroupVerdict:
    """The verdict on the batch sizes of one optimizer and dtype.

    `seeds_needed` maps each undecided batch size to how many more seeds would probably decide it (None: more than a
    thousand); it is empty without a margin. `slopes` are those of log(updates) from each batch size to the next. If
    `nothing_learnt` (see `cluster.analysis.learnt`), nothing is compared.
    """

    optimizer: str
    dtype: str
    reference: int | None
    cells: tuple[CellVerdict, ...]
    arms: tuple[Arm, ...]
    seeds_needed: dict[int, int | None]
    firsts: tuple[First, ...]
    knee: Knee | None
    b20: B20 | None
    slopes: dict[int, float]
    caveats: tuple[Caveat, ...]
    cannot: tuple[Cannot, ...]
    nothing_learnt: bool


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The verdict on a study; `declared` holds the target and margin that it is judged by."""

    schema_version: int
    study: str
    declared: Declared
    failures: Failures
    groups: tuple[GroupVerdict, ...]


def judge(studies: pa.Table, trials: pa.Table, evaluations: pa.Table) -> Verdict:
    """The verdict on one study, from its rows in the three tables; the study may still be running or have failed.

    It covers the trials that the newest spec asks for: those of an earlier budget, say, belong to another experiment.
    """
    whole = specs_of(studies, trials)
    trials = query.newest(trials, studies)
    specs = specs_of(studies, trials)
    cells = cells_of(trials, evaluations, specs)
    known = declared(specs, trials, whole)
    idle = groups_without_learning(trials, guess_of(known.baseline_loss, known.best_constant_loss))
    groups = groupby(cells, lambda cell: (cell.optimizer, cell.dtype))
    return Verdict(
        schema_version=SCHEMA_VERSION,
        study=studies["study"][-1].as_py(),
        declared=known,
        failures=failures(trials, studies["trials"][-1].as_py()),
        groups=tuple(_group(tuple(of_one), known, learnt=group not in idle) for group, of_one in groups),
    )


def _group(cells: Sequence[Cell], known: Declared, *, learnt: bool) -> GroupVerdict:
    reaches = {cell.global_batch: there for cell in cells if (there := _reach(cell, known.target)) is not None}
    speaking = [cell for cell in cells if usable(cell)] if learnt else []
    trusted = [cell for cell in speaking if cell.reliable]
    reference = min(trusted, key=lambda cell: (cell.screen_loss, cell.global_batch), default=None)
    arms = _arms(speaking, reference, known.margin) if reference and not known.stops_at_target else ()
    firsts = tuple(found for measure in MEASURES if (found := _first(trusted, reaches, measure)) is not None)
    knee, b20, slopes = _scaling(speaking, reaches)
    return GroupVerdict(
        optimizer=cells[0].optimizer,
        dtype=cells[0].dtype,
        reference=reference.global_batch if reference else None,
        cells=tuple(_figures(cell, reaches.get(cell.global_batch), learnt=learnt) for cell in cells),
        arms=arms,
        seeds_needed=_seeds_needed(arms[0].qualities, known.margin) if arms and known.margin is not None else {},
        firsts=firsts,
        knee=knee,
        b20=b20,
        slopes=slopes,
        caveats=caveats(Evidence(cells=cells, reaches=reaches, known=known)),
        cannot=(*([] if learnt else [nothing_shown(known)]), *refusals(cells, reaches, known)),
        nothing_learnt=not learnt,
    )


def _reach(cell: Cell, target: float | None) -> CellReach | None:
    return None if target is None else reach(cell, target)


def _figures(cell: Cell, reached: CellReach | None, *, learnt: bool) -> CellVerdict:
    rows = [run.row for run in cell.runs if run.completed]

    def mean(name: str) -> float | None:
        values = [row[name] for row in rows]
        return float(np.mean(values)) if values and None not in values else None

    def spread(name: str) -> Interval | None:
        values = [row[name] for row in rows if row[name] is not None and math.isfinite(row[name])]
        return interval(values) if values else None

    seconds = [(row["ended_at"] - row["started_at"]).total_seconds() for row in rows]
    costs = [run.cost_usd for run in cell.runs if run.completed]
    peaks = [row["peak_memory_bytes"] for row in rows if row["peak_memory_bytes"] is not None]
    return CellVerdict(
        global_batch=cell.global_batch,
        learning_rate=cell.learning_rate,
        rates=dict(cell.rates),
        at_edge=cell.at_edge,
        tuned=cell.tuned,
        usable=learnt and usable(cell) and cell.reliable,
        seeds=len(cell.planned),
        completed=len(rows),
        missing=cell.missing,
        reliable=cell.reliable,
        loss=spread("best_validation_loss"),
        test_loss=spread("test_loss"),
        test_accuracy=spread("test_accuracy"),
        updates=mean("updates"),
        examples_per_second=mean("examples_per_second"),
        seconds=float(np.mean(seconds)) if seconds else None,
        usd=float(np.mean([cost for cost in costs if cost is not None])) if costs and None not in costs else None,
        micro_batch=max((row["micro_batch"] for row in rows if row["micro_batch"] is not None), default=None),
        peak_memory_bytes=min(peaks, default=None),
        noise_scale=mean("noise_scale"),
        reach=reached,
    )


def _arms(cells: Sequence[Cell], reference: Cell, margin: float | None) -> tuple[Arm, ...]:
    """One arm of the whole budgets, then one for each clock, limited to the run that had the least of it."""
    limits: list[tuple[str | None, float]] = [(None, math.inf)]
    for clock in CLOCKS:
        ends = [getattr(run.curve, clock)[-1] for cell in cells for run in cell.runs if run.completed]
        if ends:
            limits.append((clock, float(min(ends))))
    return tuple(_arm(cells, reference, margin, clock, most) for clock, most in limits)


def _arm(cells: Sequence[Cell], reference: Cell, margin: float | None, clock: str | None, most: float) -> Arm:
    means = {
        cell.global_batch: [run.best_loss(clock or "updates", most) for run in cell.runs if run.completed]
        for cell in cells
    }
    return Arm(
        clock=clock,
        most=most if math.isfinite(most) else None,
        losses={batch: float(np.mean(losses)) for batch, losses in means.items() if losses},
        qualities=compare(cells, reference, margin, clock=clock or "updates", most=most),
    )


def _seeds_needed(qualities: Sequence[Quality], margin: float) -> dict[int, int | None]:
    return {one.global_batch: more_seeds(one, margin) for one in qualities if one.outcome == "undecided"}


def _first(cells: Sequence[Cell], reaches: Mapping[int, CellReach], measure: str) -> First | None:
    expected = {}
    for cell in cells:
        reached = reaches.get(cell.global_batch)
        found = reached.measures[measure] if reached else None
        if found is not None and found.expected is not None:
            expected[cell.global_batch] = found.expected
    if len(expected) < 2:
        return None
    best = min(expected, key=lambda batch: expected[batch])
    ratios = {batch: ratio(reaches[best], reaches[batch], measure) for batch in expected if batch != best}
    return First(
        measure=measure,
        global_batch=best,
        expected=expected[best],
        ratios=ratios,
        not_told_apart=tuple(
            batch for batch, one in ratios.items() if one is None or one.high is None or one.high >= 1
        ),
    )


def _scaling(
    cells: Sequence[Cell], reaches: Mapping[int, CellReach]
) -> tuple[Knee | None, B20 | None, dict[int, float]]:
    """Updates against batch size: the knee, the assumption-free B20, and the slope from each batch to the next."""
    found = {cell.global_batch: reaches[cell.global_batch] for cell in cells if cell.global_batch in reaches}
    whole = {batch: one for batch, one in found.items() if one.every_run}
    if len(whole) < 2:
        return None, None, {}
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
    return (
        critical_batch.identify(list(found), by_seed) if seeds else None,
        critical_batch.b20(list(found), examples),
        dict(zip(updates, slopes, strict=False)),
    )


def _geometric(values: Sequence[float]) -> float:
    return float(np.exp(np.mean(np.log(values))))
