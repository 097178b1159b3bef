"""Cells: a global batch with its learning rate and the runs that speak for it, out of the summary's tables. Pure.

A cell is a (global batch, optimizer, dtype). Under a protocol its rates were tried in the screen and its runs are the
confirmations of the best one on fresh seeds; in a plain grid its runs are those of its best rate, which then was
chosen by the very runs that are to be judged.
"""

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cluster.analysis.asked import Specs
from cluster.study.protocol import CONFIRM, GRID, SCREEN
from cluster.summary import query
from cluster.summary.tables import AXES, COMPLETED, DIVERGED

WAITING, LACKING = "waiting", "lacking_evaluations"
_WORDS = {"out_of_memory": "ran out of memory", WAITING: "not run yet", LACKING: "without all of its evaluations"}
# Of a plain grid; what was written before there were phases has none.
_PLAIN = (GRID, None)
Floats = npt.NDArray[np.float64]
Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The evaluations of a trial, in their order: four arrays of one length and the gradients' norms (NaN: unknown)."""

    updates: Floats
    examples: Floats
    seconds: Floats
    losses: Floats
    gradient_norms: Floats


@dataclass(frozen=True, kw_only=True)
class Run:
    """A trial that has ended: its row, its curve, and what all its attempts together cost (None: not known)."""

    row: Row
    curve: Curve
    cost_usd: float | None

    @property
    def trial_id(self) -> str:
        """The trial's id."""
        return str(self.row["trial_id"])

    @property
    def seed(self) -> int:
        """The trial's seed, by which runs of two cells are paired."""
        return int(self.row["seed"])

    @property
    def completed(self) -> bool:
        """Whether it came to the end of its budget, as its curve shows; else it diverged, was stopped or the like."""
        return bool(self.row["state"] == COMPLETED) and not self.lacks_evaluations

    @property
    def lacks_evaluations(self) -> bool:
        """Whether it completed, and its curve ends before it did or never was as low: its files are gone or damaged."""
        best, updates = self.row["best_validation_loss"], self.row["updates"]
        if self.row["state"] != COMPLETED or best is None:
            return False
        if not self.curve.losses.size:
            return True
        ends_early = updates is not None and self.curve.updates[-1] < updates
        return bool(ends_early or self.curve.losses.min() > best)

    @property
    def diverged(self) -> bool:
        """Whether it ended because its loss or gradient grew without bound."""
        return bool(self.row["state"] == DIVERGED)

    def best_loss(self, clock: str = "updates", most: float = math.inf) -> float:
        """Its lowest validation loss while `clock` (a field of Curve) was at most `most`; inf unless it completed."""
        seen = self.curve.losses[getattr(self.curve, clock) <= most]
        return float(seen.min()) if self.completed and seen.size else math.inf


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A global batch, optimizer and dtype: the mean losses of the rates tried, the rate judged, and its runs by seed.

    `rates` maps each rate to its mean best loss (inf: it did not complete). `tuned` says that other seeds than those
    of `runs` chose the rate; `searched` are the trials that did. `planned` are the seeds that the study's specs ask
    for, `late` those of them that were added after the confirmations began; a planned trial is among `runs` if it has
    an answer, among `unanswered` if it only ended, else in neither.
    """

    global_batch: int
    optimizer: str
    dtype: str
    learning_rate: float
    rates: Mapping[float, float]
    tuned: bool
    runs: tuple[Run, ...]
    searched: tuple[Run, ...]
    planned: tuple[int, ...]
    unanswered: tuple[Run, ...]
    late: tuple[int, ...]

    @property
    def at_edge(self) -> bool:
        """Whether the rate is the lowest or the highest of several tried: a better one may lie beyond."""
        return len(self.rates) > 1 and self.learning_rate in (min(self.rates), max(self.rates))

    @property
    def screen_loss(self) -> float:
        """The mean loss by which the rate was chosen."""
        return self.rates.get(self.learning_rate, math.inf)

    @property
    def missing(self) -> dict[str, int]:
        """How many of the planned seeds have no completed run, by state in lower case; `waiting`: none has ended."""
        without = [run for run in (*self.runs, *self.unanswered) if not run.completed]
        states = [LACKING if run.lacks_evaluations else str(run.row["state"]).lower() for run in without]
        waiting = len(self.planned) - len(self.runs) - len(self.unanswered)
        return dict(Counter(sorted(states))) | ({WAITING: waiting} if waiting else {})

    @property
    def reliable(self) -> bool:
        """Whether no planned run diverged: what is left of one that did are survivors, which look better than it is."""
        return not any(run.diverged for run in self.runs)


def missing_text(missing: Mapping[str, int]) -> str:
    """What became of planned seeds without a completed run, such as `2 diverged, 1 not run yet`."""
    return ", ".join(f"{count} {_WORDS.get(state, state)}" for state, count in missing.items())


def cells_of(trials: pa.Table, evaluations: pa.Table, specs: Specs) -> tuple[Cell, ...]:
    """The cells of one study's tables, by optimizer, dtype and global batch, in which some trial has an answer."""
    runs, unanswered = _runs(trials, evaluations)
    keys = sorted({_key(run) for run in runs})
    return tuple(
        _cell(
            key,
            [run for run in runs if _key(run) == key],
            [run for run in unanswered if _key(run) == key],
            specs,
        )
        for key in keys
    )


def _key(run: Run) -> tuple[str, str, int]:
    return run.row["optimizer"], run.row["dtype"], run.row["global_batch"]


def _cell(key: tuple[str, str, int], runs: Sequence[Run], unanswered: Sequence[Run], specs: Specs) -> Cell:
    screened = [run for run in runs if run.row["phase"] == SCREEN]
    confirming = [run for run in (*runs, *unanswered) if run.row["phase"] == CONFIRM]
    searched = screened or [run for run in runs if run.row["phase"] in _PLAIN]
    rates = _mean_losses(searched)
    candidates = {run.row["learning_rate"] for run in confirming} or set(rates)
    rate = min(candidates, key=lambda one: (rates.get(one, math.inf), one))
    phases = (CONFIRM,) if screened else _PLAIN
    taken = {run.seed for run in screened}

    def judged(some: Iterable[Run]) -> tuple[Run, ...]:
        at_rate = [run for run in some if run.row["learning_rate"] == rate and run.row["phase"] in phases]
        # Older versions confirmed on a seed that had screened, where `axes.seeds` had grown to it.
        return _one_of_each_seed(run for run in at_rate if run.seed not in taken)

    answered = judged(runs)
    seeds = {run.seed for run in answered}
    without = tuple(run for run in judged(unanswered) if run.seed not in seeds)
    optimizer, dtype, global_batch = key
    planned = {*specs.seeds(key, taken), *seeds, *(run.seed for run in without)}
    return Cell(
        global_batch=global_batch,
        optimizer=optimizer,
        dtype=dtype,
        learning_rate=rate,
        rates=rates,
        tuned=bool(screened),
        runs=answered,
        searched=tuple(searched),
        planned=tuple(sorted(planned)),
        unanswered=without,
        late=specs.late_seeds_at(key, taken),
    )


def _mean_losses(runs: Sequence[Run]) -> dict[float, float]:
    """The mean best loss of each rate: that of a trial's row where its curve is not whole."""
    rates = sorted({run.row["learning_rate"] for run in runs})

    def best(run: Run) -> float:
        return float(run.row["best_validation_loss"]) if run.lacks_evaluations else run.best_loss()

    return {rate: float(np.mean([best(run) for run in runs if run.row["learning_rate"] == rate])) for rate in rates}


def _one_of_each_seed(runs: Iterable[Run]) -> tuple[Run, ...]:
    """The newest run of each seed: rows of unknown spec may hold two of a seed."""
    newest = {run.seed: run for run in sorted(runs, key=lambda run: run.row["started_at"].timestamp())}
    return tuple(newest[seed] for seed in sorted(newest))


def _runs(trials: pa.Table, evaluations: pa.Table) -> tuple[list[Run], list[Run]]:
    """The trials that have an answer, and the last attempts of those that have none."""
    curves = _curves(evaluations)
    costs: dict[str, float | None] = {}
    for row in trials.to_pylist():
        before, more = costs.get(row["trial_id"], 0.0), row["cost_usd"]
        costs[row["trial_id"]] = None if before is None or more is None else before + more

    def runs(rows: pa.Table) -> list[Run]:
        return [
            Run(row=row, curve=curves.get(row["trial_id"], _EMPTY), cost_usd=costs[row["trial_id"]])
            for row in rows.to_pylist()
            if None not in [row[name] for name in (*AXES, "started_at", "ended_at")]
        ]

    answered = runs(query.finished(trials))
    known = {one.trial_id for one in answered}
    return answered, [run for run in runs(query.latest(trials)) if run.trial_id not in known]


_NONE = np.empty(0)
_EMPTY = Curve(updates=_NONE, examples=_NONE, seconds=_NONE, losses=_NONE, gradient_norms=_NONE)


def _curves(evaluations: pa.Table) -> dict[str, Curve]:
    ordered = query.curves(evaluations)
    trial_ids = np.asarray(ordered["trial_id"].to_pylist(), dtype=object)
    cuts = [0, *(np.flatnonzero(trial_ids[1:] != trial_ids[:-1]) + 1).tolist(), len(trial_ids)]
    names = ("update", "examples", "seconds", "validation_loss", "gradient_norm")
    columns = [np.array(ordered[name].to_pylist(), np.float64) for name in names]
    curves = {}
    for start, stop in itertools.pairwise(cuts):
        if stop > start:
            cut = [column[start:stop] for column in columns]
            curves[trial_ids[start]] = Curve(
                updates=cut[0], examples=cut[1], seconds=cut[2], losses=cut[3], gradient_norms=cut[4]
            )
    return curves
