"""The trials of a study in the order in which they can run: those of a phase side by side, one phase after another.

A plain grid is one phase. A protocol screens, adds a rate to every cell while a best rate is at an edge, repeats all of
it on further seeds while runs are too noisy, and confirms in looks, each on the seeds that it adds.
Which rates win is not known beforehand, but rates do not affect costs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from cluster.study import protocol
from cluster.study.cell import CellKey, cell_of
from cluster.study.protocol import CONFIRM, GRID, SCREEN
from cluster.study.rules import Protocol
from cluster.study.seeds import SCREEN_SEEDS
from trainer.trial import TrialSpec

EXTENSION, AGAIN, LOOK = "extension", "again", "look"
# What the usual study does without, and the shortest one too.
AT_MOST = (EXTENSION, AGAIN, LOOK)


@dataclass(frozen=True)
class Phase:
    """Trials that do not wait for one another.

    An EXTENSION, the screen AGAIN and a LOOK after the first may not be needed.
    """

    name: str
    trials: tuple[TrialSpec, ...]

    @property
    def confirms(self) -> bool:
        """Whether its trials are at chosen rates."""
        return self.name in (CONFIRM, LOOK)


def phases(grid: Sequence[TrialSpec], rules: Protocol | None, margin: float | None) -> list[Phase]:
    """Every phase that may be needed, in order; without a `margin` no screen is repeated."""
    if rules is None:
        return [Phase(GRID, tuple(grid))]
    seeds = {trial.seed for trial in grid}
    wanted = protocol.expected(grid, rules)
    screen = tuple(trial for trial in wanted if trial.seed not in seeds)
    confirm = [trial for trial in wanted if trial.seed in seeds]
    extended = [_one_rate(screen)] * rules.extensions
    extensions = [Phase(EXTENSION, trials) for trials in extended]
    again = [
        Phase(AGAIN, tuple(replace(trial, seed=SCREEN_SEEDS[number]) for one in (screen, *extended) for trial in one))
        for number in range(rules.fewest_screen_seeds, rules.most_screen_seeds if margin is not None else 0)
    ]
    order = list(dict.fromkeys(trial.seed for trial in confirm))
    looks = [
        Phase(CONFIRM if begin == 0 else LOOK, tuple(trial for trial in confirm if trial.seed in order[begin:end]))
        for begin, end in pairwise((0, *rules.looks_at(len(order)).seeds))
    ]
    return [Phase(SCREEN, screen), *extensions, *again, *looks]


def least_part(phase: Phase, rules: Protocol | None) -> float:
    """The least part of a phase's examples that is used, if early stopping ends all that it can (`lanes.early`).

    Half of a cell's rates go on at a quarter of the budget, and half of those at half the budget.
    """
    if rules is None or not rules.stop_early or phase.name not in (SCREEN, EXTENSION):
        return 1.0
    if phase.name == EXTENSION:
        return 1 / 4
    cells: dict[tuple[CellKey, int], int] = {}
    for trial in phase.trials:
        cells[cell_of(trial), trial.seed] = cells.get((cell_of(trial), trial.seed), 0) + 1
    rates = max(cells.values())
    half = math.ceil(rates / 2)
    quarter = math.ceil(half / 2)
    return ((rates - half) / 4 + (half - quarter) / 2 + quarter) / rates


def _one_rate(screen: Sequence[TrialSpec]) -> tuple[TrialSpec, ...]:
    """The trials of one rate of each cell."""
    lowest: dict[CellKey, float] = {}
    for trial in screen:
        lowest[cell_of(trial)] = min(trial.learning_rate, lowest.get(cell_of(trial), math.inf))
    return tuple(trial for trial in screen if trial.learning_rate == lowest[cell_of(trial)])
