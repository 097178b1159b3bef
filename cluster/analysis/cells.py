"""Cells: a global batch with its learning rate and the runs that represent it, from the summary's tables. Pure.

A cell is a (global batch, optimizer, dtype). Under a protocol its rates were tried in the screen, and its runs are the
confirmations of the best one on fresh seeds. In a plain grid its runs are those of its best rate, which was then chosen
by the very runs under judgement.
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
from cluster.study.cell import CellKey, cell_of_row, group_of
from cluster.study.chosen_rates import Choice, at_edge, choose
from cluster.study.protocol import CONFIRM, GRID, SCREEN
from cluster.summary import query
from cluster.summary.tables import AXES, COMPLETED, DIVERGED

WAITING, LACKING = "waiting", "lacking_evaluations"
_WORDS = {"out_of_memory": "ran out of memory", WAITING: "not run yet", LACKING: "without all of its evaluations"}
# The phases of a plain grid; rows written before phases existed have None.
_PLAIN = (GRID, None)
Floats = npt.NDArray[np.float64]
Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The evaluations of a trial in order: five arrays of one length; a gradient norm that is not known is NaN."""

    updates: Floats
    examples: Floats
    seconds: Floats
    losses: Floats
    gradient_norms: Floats


@dataclass(frozen=True, kw_only=True)
class Run:
    """A trial that has ended: its row, its curve, and the total cost of its attempts (None: not known)."""

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
        """Whether the run reached the end of its budget and has a complete curve: it did not diverge, stop or fail."""
        return bool(self.row["state"] == COMPLETED) and not self.lacks_evaluations

    @property
    def lacks_evaluations(self) -> bool:
        """Whether it completed but its curve ends early or lacks its best loss: files are missing or damaged."""
        best, updates = self.row["best_validation_loss"], self.row["updates"]
        if self.row["state"] != COMPLETED or best is None:
            return False
        if not self.curve.losses.size:
            return True
        ends_early = updates is not None and self.curve.updates[-1] < updates
        return bool(ends_early or self.curve.losses.min() > best)

    @property
    def diverged(self) -> bool:
        """Whether the run ended because its loss or gradient grew without bound."""
        return bool(self.row["state"] == DIVERGED)

    def best_loss(self, clock: str = "updates", most: float = math.inf) -> float:
        """The lowest validation loss while `clock` (a field of Curve) was at most `most`; inf unless it completed."""
        losses = self.curve.losses[getattr(self.curve, clock) <= most]
        return float(losses.min()) if self.completed and losses.size else math.inf


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A global batch, optimizer, dtype and settings, with the losses of its rates, the rate judged and its runs.

    `rates` maps each rate tried to its mean best loss (inf: it did not complete). `choice` is what the screen chose
    from them, if its rate is the one that is judged; it may lie between two of them. `tuned` is true if the rate was
    chosen on other seeds than those of `runs`; `searched` are the trials that chose it. `planned` are the seeds that
    the study's specs ask for, and `late` are those added after the confirmations began. A planned trial is among `runs`
    if it has an answer, among `unanswered` if it merely ended, and otherwise in neither.
    """

    global_batch: int
    optimizer: str
    dtype: str
    settings: str
    learning_rate: float
    rates: Mapping[float, float]
    choice: Choice | None
    tuned: bool
    runs: tuple[Run, ...]
    searched: tuple[Run, ...]
    planned: tuple[int, ...]
    unanswered: tuple[Run, ...]
    late: tuple[int, ...]

    @property
    def at_edge(self) -> bool:
        """Whether the best of several rates tried is the lowest or highest, so that a better one may lie beyond."""
        return len(self.rates) > 1 and at_edge(self.rates)

    @property
    def key(self) -> CellKey:
        """What identifies the cell within its study."""
        return self.global_batch, self.optimizer, self.dtype, self.settings

    @property
    def screen_loss(self) -> float:
        """The loss by which the rate was chosen."""
        return self.choice.loss if self.choice else self.rates.get(self.learning_rate, math.inf)

    @property
    def missing(self) -> dict[str, int]:
        """How many planned seeds have no completed run, by lower-case state; those with no ended run are `waiting`."""
        without = [run for run in (*self.runs, *self.unanswered) if not run.completed]
        states = [LACKING if run.lacks_evaluations else str(run.row["state"]).lower() for run in without]
        waiting = len(self.planned) - len(self.runs) - len(self.unanswered)
        return dict(Counter(sorted(states))) | ({WAITING: waiting} if waiting else {})

    @property
    def reliable(self) -> bool:
        """Whether no planned run diverged; if one did, the survivors make the cell look better than it is."""
        return not any(run.diverged for run in self.runs)


def missing_text(missing: Mapping[str, int]) -> str:
    """What happened to the planned seeds without a completed run, such as `2 diverged, 1 not run yet`."""
    return ", ".join(f"{count} {_WORDS.get(state, state)}" for state, count in missing.items())


def cells_of(trials: pa.Table, evaluations: pa.Table, specs: Specs) -> tuple[Cell, ...]:
    """The cells of one study in which some trial has an answer, ordered by optimizer, dtype and global batch."""
    runs, unanswered = _runs(trials, evaluations)
    keys = sorted({_key(run) for run in runs}, key=lambda key: (group_of(key), key))
    answered = {key: [run for run in runs if _key(run) == key] for key in keys}
    tried = {key: _mean_losses(_searched(answered[key])) for key in keys}
    spec = specs.counting
    chosen = choose({key: rates for key, rates in tried.items() if rates}, spec.rates, spec.row["baseline_loss"])
    return tuple(
        _cell(
            key,
            answered[key],
            [run for run in unanswered if _key(run) == key],
            specs,
            tried[key],
            chosen.cells.get(key),
        )
        for key in keys
    )


def _key(run: Run) -> CellKey:
    return cell_of_row(run.row)


def _searched(runs: Sequence[Run]) -> list[Run]:
    """The runs of a cell that chose its rate: those of the screen or, in a plain grid, all."""
    screened = [run for run in runs if run.row["phase"] == SCREEN]
    return screened or [run for run in runs if run.row["phase"] in _PLAIN]


def _cell(
    key: CellKey,
    runs: Sequence[Run],
    unanswered: Sequence[Run],
    specs: Specs,
    rates: Mapping[float, float],
    choice: Choice | None,
) -> Cell:
    screened = [run for run in runs if run.row["phase"] == SCREEN]
    confirming = [run for run in (*runs, *unanswered) if run.row["phase"] == CONFIRM]
    candidates = {run.row["learning_rate"] for run in confirming} or set(rates)
    if screened and choice and choice.rate in candidates:
        rate = choice.rate
    else:
        rate = min(candidates, key=lambda candidate: (rates.get(candidate, math.inf), candidate))
    phases = (CONFIRM,) if screened else _PLAIN
    taken = {run.seed for run in screened}

    def judged(runs: Iterable[Run]) -> tuple[Run, ...]:
        at_rate = [run for run in runs if run.row["learning_rate"] == rate and run.row["phase"] in phases]
        # Older versions could confirm on a seed that had already screened, if `axes.seeds` had grown to include it.
        return _one_of_each_seed(run for run in at_rate if run.seed not in taken)

    answered = judged(runs)
    seeds = {run.seed for run in answered}
    without = tuple(run for run in judged(unanswered) if run.seed not in seeds)
    global_batch, optimizer, dtype, settings = key
    planned = {*specs.seeds(key, taken), *seeds, *(run.seed for run in without)}
    return Cell(
        global_batch=global_batch,
        optimizer=optimizer,
        dtype=dtype,
        settings=settings,
        learning_rate=rate,
        rates=rates,
        choice=choice if screened and choice and choice.rate == rate else None,
        tuned=bool(screened),
        runs=answered,
        searched=tuple(_searched(runs)),
        planned=tuple(sorted(planned)),
        unanswered=without,
        late=specs.late_seeds_at(key, taken),
    )


def _mean_losses(runs: Sequence[Run]) -> dict[float, float]:
    """The mean best loss of each rate, taken from a trial's row where its curve is incomplete."""
    rates = sorted({run.row["learning_rate"] for run in runs})

    def best(run: Run) -> float:
        return float(run.row["best_validation_loss"]) if run.lacks_evaluations else run.best_loss()

    return {rate: float(np.mean([best(run) for run in runs if run.row["learning_rate"] == rate])) for rate in rates}


def _one_of_each_seed(runs: Iterable[Run]) -> tuple[Run, ...]:
    """The newest run of each seed, because rows of an unknown spec may hold two runs of one seed."""
    newest = {run.seed: run for run in sorted(runs, key=lambda run: run.row["started_at"].timestamp())}
    return tuple(newest[seed] for seed in sorted(newest))


def _runs(trials: pa.Table, evaluations: pa.Table) -> tuple[list[Run], list[Run]]:
    """The trials that have an answer, and the last attempts of those that do not."""
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
    answered_ids = {run.trial_id for run in answered}
    return answered, [run for run in runs(query.latest(trials)) if run.trial_id not in answered_ids]


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
