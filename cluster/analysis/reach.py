"""Reaching the target: what each cell's runs took to it, in updates, examples, seconds and dollars. Pure.

A run that missed the target counts: as censored at what it was watched for, or, where it diverged, at the most that
any run of the cell was. The mean of the successes is not made: it rewards a cell for losing its slow runs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cluster.analysis import survival
from cluster.analysis.cells import Cell, Run
from cluster.analysis.crossing import at_crossing, first_confirmed
from cluster.analysis.paired import Interval, log_ratio
from cluster.analysis.survival import Success

CLOCKS = ("updates", "examples", "seconds")
MEASURES = (*CLOCKS, "usd")


@dataclass(frozen=True, kw_only=True)
class Reached:
    """One run on its way to the target: what it took, or, if it did not reach it, what it was watched for.

    `usd` is None where the price is not known. `evaluations` are those before the crossing.
    """

    trial_id: str
    seed: int
    reached: bool
    updates: float
    examples: float
    seconds: float
    usd: float | None
    evaluations: int


@dataclass(frozen=True, kw_only=True)
class Reach:
    """What a cell's runs took to the target in one measure.

    `median` is Kaplan-Meier's (None: fewer than half came there), `restricted_mean` the mean within the cap `tau`,
    `expected` the expected running time with restarts (None: no run came there).
    """

    median: float | None
    restricted_mean: float
    tau: float
    expected: float | None


@dataclass(frozen=True, kw_only=True)
class CellReach:
    """A cell's runs and the target: each run, the success rate, and one Reach a measure (None: price not known)."""

    runs: tuple[Reached, ...]
    success: Success
    measures: dict[str, Reach | None]

    @property
    def every_run(self) -> bool:
        """Whether every run reached the target, so that nothing is censored."""
        return self.success.reached == self.success.runs


def reach(cell: Cell, target: float) -> CellReach | None:
    """How the runs of a cell reached the target; None for a cell without a run that was evaluated."""
    runs = tuple(_reached(run, target) for run in cell.runs if run.curve.updates.size)
    if not runs:
        return None
    measures = {measure: _measure(cell, runs, measure) for measure in MEASURES}
    return CellReach(runs=runs, success=survival.success([run.reached for run in runs]), measures=measures)


def ratio(cell: CellReach, other: CellReach, measure: str) -> Interval | None:
    """The geometric mean of this cell over the other, paired by seed; None where a run is censored."""
    if not (cell.every_run and other.every_run):
        return None
    theirs = {run.seed: getattr(run, measure) for run in other.runs}
    pairs = [(getattr(run, measure), theirs[run.seed]) for run in cell.runs if run.seed in theirs]
    if not pairs or any(value is None or value <= 0 for pair in pairs for value in pair):
        return None
    above, below = zip(*pairs, strict=True)
    return log_ratio(above, below)


def _reached(run: Run, target: float) -> Reached:
    updates, all_seconds = run.curve.updates.tolist(), run.curve.seconds.tolist()
    # A trial that ended by reaching its target did so with two evaluations: its crossing is confirmed as any other.
    crossing = first_confirmed(updates, run.curve.losses.tolist(), target) if run.completed else None
    at = updates[-1] if crossing is None else crossing
    examples = at_crossing(updates, run.curve.examples.tolist(), at)
    seconds = at_crossing(updates, all_seconds, at)
    whole = all_seconds[-1]
    # Starting, evaluating and saving are paid too: in proportion to the training that they served.
    usd = run.cost_usd * seconds / whole if run.cost_usd is not None and whole > 0 else None
    return Reached(
        trial_id=run.trial_id,
        seed=run.seed,
        reached=crossing is not None,
        updates=at,
        examples=examples,
        seconds=seconds,
        usd=usd,
        evaluations=sum(update < at for update in updates),
    )


def _measure(cell: Cell, runs: Sequence[Reached], measure: str) -> Reach | None:
    spent = [getattr(run, measure) for run in runs]
    if any(value is None for value in spent):
        return None
    came = [run.reached for run in runs]
    tau = max(spent)
    completed = {run.trial_id for run in cell.runs if run.completed}
    # What diverged would never have come there, however early it ended.
    charged = [value if run.trial_id in completed else tau for value, run in zip(spent, runs, strict=True)]
    expected = survival.expected_running_time(spent, came)
    return Reach(
        median=survival.kaplan_meier(charged, came).median,
        restricted_mean=survival.restricted_mean(charged, came, tau),
        tau=tau,
        expected=expected if math.isfinite(expected) else None,
    )
