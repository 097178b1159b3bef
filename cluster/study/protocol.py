"""The protocol: which trials a study wants, given the answers so far. Pure.

A plain grid wants all its trials at once. A study with `protocol:` in its spec tunes the learning rate inside each
cell (global batch, optimizer, dtype), so that no batch size is judged by an arbitrary rate:

    screen    Every rate of every cell, on separate seeds. While the best rate of some cell is the lowest or highest
              tried, every cell gets one more rate, so that all cells are searched equally hard. The new rate lies
              beyond the edge if the best rate is at one, and otherwise beyond the end that is nearer to the best.
              While runs are so noisy that the margin does not tell rates apart, all of it is repeated on another seed
              (`Protocol.screens_again`).
    confirm   Each cell at the rate that the screen chooses (`cluster.study.chosen_rates`), on the seeds of
              `axes.seeds`. These are the same for all cells, and the screen uses none of them: the best of several
              rates looks better than it is on the seeds that chose it. They are confirmed in looks, and a cell that is
              decided needs no more of them (`cluster.study.confirming`).

The screen is on SCREEN_SEEDS, so more seeds only add confirmations. Older versions screened on the seeds after the
last of `axes.seeds`. A study that began like that keeps that screen, and if `axes.seeds` has grown to include one of
its seeds, the next free seed confirms in its place. So it does in the place of a seed that a plain grid under the same
name trained before the protocol: whoever declared it had seen those losses.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

from cluster.study.cell import CellKey, cell_of
from cluster.study.chosen_rates import Choices, at_edge, choose
from cluster.study.confirming import Confirming, confirmations, confirming_seeds
from cluster.study.seeds import SCREEN_SEEDS
from trainer.trial import TrialSpec

if TYPE_CHECKING:
    from cluster.study.rules import Protocol

GRID, SCREEN, CONFIRM = PHASES = ("grid", "screen", "confirm")

# The loss of a trial that ended without one because it diverged, ran out of memory, or was stopped early.
NO_LOSS = math.inf
TargetAfter = Callable[[Choices], float | None]
Losses = dict[CellKey, dict[float, float]]


@dataclass(frozen=True)
class Planned:
    """A trial and the phase that wants it."""

    trial: TrialSpec
    phase: str


@dataclass(frozen=True)
class Wanted:
    """The trials known to be wanted, in order; `open` if missing answers may lead to further ones."""

    trials: tuple[Planned, ...]
    open: bool


class Unfolding:
    """The plan of a study while its answers arrive one by one.

    A plan changes only when it is open and every trial of it has an answer. So the plan is recomputed once per phase,
    and the cost of an answer does not grow with the number of trials.
    """

    def __init__(self, plan_after: Callable[[Mapping[str, float]], Wanted], losses: Mapping[str, float]) -> None:
        self._plan_after, self._losses = plan_after, dict(losses)
        self._look()

    @property
    def plan(self) -> Wanted:
        """The plan after the answers so far."""
        return self._plan

    def is_answered(self, trial: TrialSpec) -> bool:
        """Whether the trial has an answer."""
        return trial.trial_id in self._losses

    def answer(self, trial: TrialSpec, loss: float) -> bool:
        """Record the loss of a trial, NO_LOSS if it ended without one; returns whether the plan has changed."""
        self._losses[trial.trial_id] = loss
        self._missing.discard(trial.trial_id)
        if self._missing or not self._plan.open:
            return False
        self._look()
        return True

    def _look(self) -> None:
        self._plan = self._plan_after(self._losses)
        self._missing = {planned.trial.trial_id for planned in self._plan.trials} - self._losses.keys()


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What a plan depends on beside axes, protocol and answers.

    `guess` is the loss of a guess that ignores the input, None if it is not known, and `margin` the difference that
    matters. `declared_seeds` are those on the axis when the confirmations began (none: they did not); the looks are at
    these. `screened_on` are the seeds of the screen with which the study began, if it did begin, and `tried_on` those
    of a plain grid before the protocol, which confirm nothing. `target_after` returns the target, given what the screen
    chose; confirmations end there if the protocol has `stop_at_target`.
    """

    guess: float | None = None
    margin: float | None = None
    declared_seeds: tuple[int, ...] = ()
    screened_on: tuple[int, ...] = ()
    tried_on: tuple[int, ...] = ()
    target_after: TargetAfter = lambda choices: None


def wanted(
    grid: Sequence[TrialSpec],
    protocol: "Protocol | None",
    losses: Mapping[str, float],
    conditions: Conditions = Conditions(),
) -> Wanted:
    """What a study with the axes of `grid` wants, given `losses`, the best validation loss by trial_id.

    A trial without an answer is missing in `losses`; one that ended without a loss has NO_LOSS there.
    """
    if protocol is None:
        return Wanted(tuple(Planned(trial, GRID) for trial in grid), open=False)
    screened, on, cells = _screen(grid, protocol, losses, conditions)
    screen = tuple(Planned(trial, SCREEN) for trial in screened)
    if cells is None:
        return Wanted(screen, open=True)
    choices = choose(cells, protocol.rates, conditions.guess)
    stop_at_loss = conditions.target_after(choices) if protocol.stop_at_target else None
    fresh = confirming_seeds(_seeds(grid), {*on, *conditions.screened_on, *conditions.tried_on})
    late = protocol.looks_late(fresh, conditions.declared_seeds)
    seeds = tuple(seed for seed in fresh.values() if seed not in late)
    at_rates = _at_chosen_rates(grid, choices, stop_at_loss)
    confirmed, more = confirmations(
        Confirming(
            cells=at_rates,
            seeds=seeds,
            losses=losses,
            screen_losses={cell: one.loss for cell, one in choices.cells.items() if not at_edge(cells[cell])},
            margin=conditions.margin,
            looks=protocol.looks_at(len(seeds)),
        )
    )
    if not more:
        confirmed += tuple(replace(trial, seed=seed) for seed in late for trial in at_rates.values())
    return Wanted(screen + tuple(Planned(trial, CONFIRM) for trial in confirmed), open=more)


def may_have_wanted(
    grid: Sequence[TrialSpec], protocol: "Protocol | None", losses: Mapping[str, float], conditions: Conditions
) -> Iterator[Wanted]:
    """The plans that may have led to the trials of a summary: the current one, then those of older versions.

    Those versions moved the screen to other seeds when `axes.seeds` grew, so any of `screened_on` may be its first.
    """
    for seeds in (conditions.screened_on, *((seed,) for seed in conditions.screened_on)):
        yield wanted(grid, protocol, losses, replace(conditions, screened_on=seeds))


def expected(
    grid: Sequence[TrialSpec], protocol: "Protocol | None", *, at_first_look: bool = False
) -> tuple[TrialSpec, ...]:
    """The most trials that a study wants if no edge is reached; which rates it will confirm is not known.

    With `at_first_look`, those that it wants if its first look decides everything.
    """
    if protocol is None:
        return tuple(grid)
    seeds = tuple(confirming_seeds(_seeds(grid), SCREEN_SEEDS).values())
    looks = protocol.looks_at(len(seeds)).seeds
    any_trial = {cell_of(trial): trial for trial in grid}.values()
    confirmed = (replace(one, seed=seed) for seed in seeds[: looks[0 if at_first_look else -1]] for one in any_trial)
    return (*_on_seeds(grid, SCREEN_SEEDS[: protocol.fewest_screen_seeds]), *confirmed)


def _seeds(grid: Sequence[TrialSpec]) -> list[int]:
    return [trial.seed for trial in grid]


def _screen(
    grid: Sequence[TrialSpec], protocol: "Protocol", losses: Mapping[str, float], conditions: Conditions
) -> tuple[list[TrialSpec], range, Losses | None]:
    """The trials of the screen as far as they are known, its seeds, and the losses of each cell once it is over."""
    first, extended = min(conditions.screened_on, default=SCREEN_SEEDS[0]), 0
    on = range(first, first + protocol.fewest_screen_seeds)
    screened = _on_seeds(grid, on)
    while all(trial.trial_id in losses for trial in screened):
        cells = _cells(screened, losses)
        if extended < protocol.extensions and any(at_edge(rates) for rates in cells.values()):
            screened, extended = screened + _one_more_rate(screened, losses), extended + 1
        elif protocol.screens_again(len(on), choose(cells, protocol.rates, conditions.guess), conditions.margin):
            screened += [replace(trial, seed=on.stop) for trial in screened if trial.seed == first]
            on = range(first, on.stop + 1)
        else:
            return screened, on, cells
    return screened, on, None


def _on_seeds(grid: Sequence[TrialSpec], seeds: Iterable[int]) -> list[TrialSpec]:
    """The grid of one seed, on each of `seeds`."""
    own = [trial for trial in grid if trial.seed == grid[0].seed]
    return [replace(trial, seed=seed) for seed in seeds for trial in own]


def _at_chosen_rates(
    grid: Sequence[TrialSpec], choices: Choices, stop_at_loss: float | None
) -> dict[CellKey, TrialSpec]:
    """A trial of each cell that has a chosen rate, at that rate."""
    any_trial = {cell_of(trial): trial for trial in grid}
    return {
        cell: replace(trial, learning_rate=choices.cells[cell].rate, stop_at_loss=stop_at_loss)
        for cell, trial in any_trial.items()
        if cell in choices.cells
    }


def _cells(trials: Iterable[TrialSpec], losses: Mapping[str, float]) -> Losses:
    """The mean loss at each rate of each cell, the rates rising."""

    def by_rate(trial: TrialSpec) -> tuple[CellKey, float]:
        return cell_of(trial), trial.learning_rate

    cells: Losses = {}
    for (cell, rate), seeds in groupby(sorted(trials, key=by_rate), by_rate):
        found = [losses[trial.trial_id] for trial in seeds]
        cells.setdefault(cell, {})[rate] = sum(found) / len(found)
    return cells


def _one_more_rate(screened: Sequence[TrialSpec], losses: Mapping[str, float]) -> list[TrialSpec]:
    """For every cell, the trials at one rate beyond an end of its rates."""
    beyond = {cell: _beyond(rates) for cell, rates in _cells(screened, losses).items()}
    lowest = {cell: min(rates) for cell, rates in _cells(screened, losses).items()}
    return [
        replace(trial, learning_rate=beyond[cell_of(trial)])
        for trial in screened
        if trial.learning_rate == lowest[cell_of(trial)]
    ]


def _beyond(rates: Mapping[float, float]) -> float:
    """The next rate beyond the end that is nearer to the best, by the ratio between that end and its neighbour.

    If every rate diverged, the lowest counts as the best, so the next rate is lower.
    """
    tried = list(rates)
    best = tried.index(min(tried, key=lambda rate: rates[rate]))
    end, neighbour = (tried[0], tried[1]) if best < len(tried) - 1 - best else (tried[-1], tried[-2])
    return float(f"{end * end / neighbour:.12g}")
