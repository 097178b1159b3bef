"""Reaching the target: what it took each cell's runs, in updates, examples, seconds and dollars. Pure.

Every planned seed counts in the success rate. A run that missed the target is censored at its own end; a diverged run,
however early it ended, at the cell's longest. A run that failed, was lost or ran out of memory shows nothing about the
batch size: it counts as a miss and its cost is included, but the other runs decide. The mean over the successes is not
offered, because it rewards a cell for losing its slow runs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cluster.analysis import survival
from cluster.analysis.cells import Cell, Run
from cluster.analysis.crossing import at_crossing, first_confirmed
from cluster.analysis.survival import Success

CLOCKS = ("updates", "examples", "seconds")
MEASURES = (*CLOCKS, "usd")


@dataclass(frozen=True, kw_only=True)
class Reached:
    """One run on its way to the target: what that took or, if the run missed it, how long the run was observed.

    `conclusive` is true if the run completed or diverged. `usd` is None where the price is not known. `evaluations` is
    the number of evaluations before the crossing.
    """

    trial_id: str
    seed: int
    reached: bool
    conclusive: bool
    updates: float
    examples: float
    seconds: float
    usd: float | None
    evaluations: int


@dataclass(frozen=True, kw_only=True)
class Reach:
    """What it took a cell's runs to reach the target, in one measure.

    `median` is Kaplan-Meier's (None: fewer than half of them reached it), `restricted_mean` is the mean within the cap
    `tau`, and `expected` is the expected running time with restarts (None: no run reached it).
    """

    median: float | None
    restricted_mean: float
    tau: float
    expected: float | None


@dataclass(frozen=True, kw_only=True)
class CellReach:
    """A cell and the target: each ended run, the success rate of all planned seeds, and one Reach for each measure.

    The Reach in dollars is None where a price is not known.
    """

    runs: tuple[Reached, ...]
    success: Success
    measures: dict[str, Reach | None]

    @property
    def deciding(self) -> tuple[Reached, ...]:
        """The runs that show something about the batch size."""
        return tuple(run for run in self.runs if run.conclusive)

    @property
    def every_run(self) -> bool:
        """Whether every deciding run reached the target, so that nothing is censored."""
        return bool(self.deciding) and all(run.reached for run in self.deciding)


def reach(cell: Cell, target: float) -> CellReach | None:
    """How the planned runs of a cell reached the target; None if no run of the cell has ended."""
    ended = sorted((*cell.runs, *cell.unanswered), key=lambda run: run.seed)
    if not ended:
        return None
    runs = tuple(reached(run, target) for run in ended)
    came = [run.reached for run in runs] + [False] * (len(cell.planned) - len(runs))
    measures = {measure: _measure(ended, runs, measure) for measure in MEASURES}
    return CellReach(runs=runs, success=survival.success(came), measures=measures)


def reached(run: Run, target: float) -> Reached:
    """How one run reached the target, or how long it was observed."""
    if not run.curve.updates.size:
        return _never_evaluated(run)
    updates, all_seconds = run.curve.updates.tolist(), run.curve.seconds.tolist()
    # A trial that ended by reaching its target did so with two evaluations: its crossing is confirmed like any other.
    crossing = first_confirmed(updates, run.curve.losses.tolist(), target) if run.completed else None
    at = updates[-1] if crossing is None else crossing
    examples = at_crossing(updates, run.curve.examples.tolist(), at)
    seconds = at_crossing(updates, all_seconds, at)
    whole = all_seconds[-1]
    # Starting, evaluating and saving cost money too; they are charged in proportion to the training that they served.
    usd = run.cost_usd * seconds / whole if run.cost_usd is not None and whole > 0 else None
    return Reached(
        trial_id=run.trial_id,
        seed=run.seed,
        reached=crossing is not None,
        conclusive=run.completed or run.diverged,
        updates=at,
        examples=examples,
        seconds=seconds,
        usd=usd,
        evaluations=sum(update < at for update in updates),
    )


def _never_evaluated(run: Run) -> Reached:
    """A run that ended before its first evaluation: it missed the target, and its row has what it spent."""
    return Reached(
        trial_id=run.trial_id,
        seed=run.seed,
        reached=False,
        conclusive=run.completed or run.diverged,
        updates=float(run.row["updates"] or 0),
        examples=float(run.row["examples"] or 0),
        seconds=run.row["seconds_training"] or 0.0,
        usd=run.cost_usd,
        evaluations=0,
    )


def _measure(ended: Sequence[Run], runs: Sequence[Reached], measure: str) -> Reach | None:
    spent = [getattr(run, measure) for run in runs]
    if any(value is None for value in spent):
        return None
    came = [run.reached for run in runs]
    tau = max(spent)
    # A diverged run would never have reached the target, however early it ended.
    charged = [tau if run.diverged else value for value, run in zip(spent, ended, strict=True)]
    expected = survival.expected_running_time(spent, came)
    return Reach(
        median=survival.kaplan_meier(charged, came).median,
        restricted_mean=survival.restricted_mean(charged, came, tau),
        tau=tau,
        expected=expected if math.isfinite(expected) else None,
    )
