"""Which learning rate a screen chooses for each cell: the best one tried, or the lowest point of a fitted curve. Pure.

Near their best rates, the curves of loss against log rate of all batch sizes have about one shape. So one screen seed
decides more if the cells share it: y = a + b z + c z^2 + d z^3, with an `a` and `b` for each cell and one c and d for
all cells of a group, where z counts steps of the grid from the best rate tried. The chosen rate is the curve's lowest
point within half a step of the best rate tried, and may lie between two rates.

Where one run's noise is more than half the curvature, the lowest loss of a flat curve lies anywhere on it by chance. So
there the best rate is that of the losses smoothed over neighbouring rates. In simulated studies with a deviation of
0.06 that loses up to 40 % less, and with little noise it changes nothing.

With the best of the grid, a batch size whose true best rate lies between two rates looks worse than one whose lies on
a rate: by more than a margin of 0.01 if the rates are a factor of 3 apart. In simulated studies the fitted rate loses
less than the best of the grid on two seeds, on seven shapes of the curve, but for a wall or a cliff close above the
best rate (`python -m tests.benchmarks.rate_rules`).
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

import numpy as np
import numpy.typing as npt

from cluster.study.cell import CellKey, group_of

Losses = Mapping[float, float]
Floats = npt.NDArray[np.float64]

Rule = Literal["fitted", "best_of_grid"]
FITTED: Rule = "fitted"
BEST_OF_GRID: Rule = "best_of_grid"
RULES = (FITTED, BEST_OF_GRID)
# How many rates on each side of the best enter the fit, and where its lowest point is looked for, in steps.
_NEIGHBOURS = 2
_PLACES = tuple(eighth / 8 for eighth in range(-4, 5))
_FEWEST_POINTS = 3
# The best rate tried is that of smoothed losses where the curvature is below so many deviations of one run.
_NOISY = 2.0
_SMOOTHING = (0.25, 0.5, 0.25)
# A fit needs this many points beyond its unknowns.
_SPARE_POINTS = 2


@dataclass(frozen=True)
class Choice:
    """The rate chosen for a cell and the screen loss expected at it.

    `fitted` is true if they come from a fit; `low` and `high` are the ends of the interval in which the fit looked.
    `curvature` is the group's loss per step squared (None: not known), so that a rate half a step off costs a quarter.
    """

    rate: float
    loss: float
    fitted: bool = False
    low: float | None = None
    high: float | None = None
    curvature: float | None = None


@dataclass(frozen=True)
class Choices:
    """The choice of each cell that has a finite loss, and the deviation of losses from their fits (0: no fit)."""

    cells: Mapping[CellKey, Choice]
    deviation: float = 0.0

    @property
    def losses(self) -> tuple[float, ...]:
        """The loss that goes with each chosen rate."""
        return tuple(choice.loss for choice in self.cells.values())


@dataclass(frozen=True)
class _Points:
    """The rates of a cell that enter the fit: their steps from `best`, and their losses."""

    best: float
    steps: tuple[float, ...]
    losses: tuple[float, ...]


@dataclass(frozen=True)
class _Curve:
    """A group's fit: `a` and `b` of each cell, the shared c and d, and the squared residuals with their freedom."""

    lines: Mapping[CellKey, tuple[float, float]]
    c: float
    d: float
    squares: float
    freedom: int

    @property
    def noisy(self) -> bool:
        """Whether one run's noise hides where the curve is lowest."""
        return self.c < _NOISY * math.sqrt(self.squares / self.freedom)


def choose(cells: Mapping[CellKey, Losses], rule: str, guess: float | None) -> Choices:
    """The rate of each cell by `rule`, given the mean screen loss at each of its rates (inf: none).

    `guess` is the loss of a guess that ignores the input; rates that come no closer than half-way to it do not enter
    the fit. Cells without a finite loss are left out. A cell that takes part in no fit keeps its best rate tried.
    """
    tried = {cell: _best_tried(losses) for cell, losses in cells.items()}
    found = {cell: choice for cell, choice in tried.items() if math.isfinite(choice.loss)}
    if rule == BEST_OF_GRID:
        return Choices(found)
    squares, freedom = 0.0, 0
    for _, group in groupby(sorted(found, key=group_of), group_of):
        tried_there = {cell: cells[cell] for cell in group}
        points = _all_entering(tried_there, guess, _best_place)
        curve = _fit(points)
        if curve is not None and curve.noisy:
            smoothed = _all_entering(tried_there, guess, _smoothed_place)
            # Around other rates the curve may have no lowest point.
            if (around := _fit(smoothed)) is not None:
                points, curve = smoothed, around
        if curve is not None:
            found |= {cell: _lowest(cell, cells[cell], points[cell], curve) for cell in points}
            squares, freedom = squares + curve.squares, freedom + curve.freedom
    return Choices(
        {cell: found[cell] for cell in cells if cell in found}, math.sqrt(squares / freedom) if freedom else 0
    )


def at_edge(rates: Losses) -> bool:
    """Whether the best rate tried is the lowest or the highest of them."""
    return _best_tried(rates).rate in (min(rates), max(rates))


def _best_tried(rates: Losses) -> Choice:
    best = min(rates, key=lambda rate: rates[rate])
    return Choice(rate=best, loss=rates[best])


def _best_place(losses: Sequence[float], guess: float | None) -> int:
    """The place of the lowest loss."""
    return losses.index(min(losses))


def _smoothed_place(losses: Sequence[float], guess: float | None) -> int:
    """The place of the lowest smoothed loss, not the first or last; a neighbour no better than a guess is left out.

    Behind such a wall the best rate may lie next to it.
    """
    most = math.inf if guess is None else guess

    def smoothed(place: int) -> float:
        near = [loss if loss < most else losses[place] for loss in losses[place - 1 : place + 2]]
        return sum(share * loss for share, loss in zip(_SMOOTHING, near, strict=True))

    return min(range(1, len(losses) - 1), key=lambda place: (smoothed(place), place))


def _all_entering(
    cells: Mapping[CellKey, Losses], guess: float | None, best_of: Callable[[Sequence[float], float | None], int]
) -> dict[CellKey, _Points]:
    """The points of each cell that takes part in the fit; `best_of` finds the best rate among the losses."""
    found = {}
    for cell, rates in cells.items():
        tried = sorted(rates)
        if _best_place([rates[rate] for rate in tried], guess) in (0, len(tried) - 1):
            continue
        entered = _entering(rates, guess, best_of([rates[rate] for rate in tried], guess))
        if entered is not None:
            found[cell] = entered
    return found


def _entering(rates: Losses, guess: float | None, best: int) -> _Points | None:
    """The points of a cell around its best place; None if there are too few of them."""
    tried = sorted(rates)
    most = (min(rates.values()) + guess) / 2 if guess is not None else math.inf

    def contiguous(places: Iterable[int]) -> list[int]:
        near = []
        for place in places:
            if not rates[tried[place]] < most:
                break
            near.append(place)
        return near

    below = contiguous(range(best - 1, max(-1, best - 1 - _NEIGHBOURS), -1))
    above = contiguous(range(best + 1, min(len(tried), best + 1 + _NEIGHBOURS)))
    places = [*reversed(below), best, *above]
    if len(places) < _FEWEST_POINTS:
        return None
    step = math.log(tried[-1] / tried[0]) / (len(tried) - 1)
    return _Points(
        best=tried[best],
        steps=tuple(math.log(tried[place] / tried[best]) / step for place in places),
        losses=tuple(rates[tried[place]] for place in places),
    )


def _fit(points: Mapping[CellKey, _Points]) -> _Curve | None:
    """Least squares with a cubic term, if there are enough points for it, else without; None if there are too few."""
    number = sum(len(one.steps) for one in points.values())
    for power in (3, 2):
        unknowns = 2 * len(points) + power - 1
        if points and number >= unknowns + _SPARE_POINTS:
            curve = _least_squares(points, power, freedom=number - unknowns)
            return curve if curve.c > 0 else None
    return None


def _least_squares(points: Mapping[CellKey, _Points], power: int, *, freedom: int) -> _Curve:
    rows, losses = [], []
    for number, one in enumerate(points.values()):
        for step, loss in zip(one.steps, one.losses, strict=True):
            line = [0.0] * (2 * len(points))
            line[2 * number : 2 * number + 2] = [1.0, step]
            rows.append([*line, step**2, *([step**3] if power == 3 else [])])
            losses.append(loss)
    matrix, right = np.array(rows), np.array(losses)
    found: Floats = np.linalg.lstsq(matrix, right, rcond=None)[0]
    squares = float(((matrix @ found - right) ** 2).sum())
    values = found.tolist()
    lines = {cell: (values[2 * number], values[2 * number + 1]) for number, cell in enumerate(points)}
    c, d = values[2 * len(points)], values[-1] if power == 3 else 0.0
    return _Curve(lines=lines, c=c, d=d, squares=squares, freedom=freedom)


def _lowest(cell: CellKey, rates: Losses, points: _Points, curve: _Curve) -> Choice:
    """The lowest place of a cell's curve, never towards a side whose neighbour did not enter."""
    a, b = curve.lines[cell]
    tried, best = sorted(rates), points.best
    place = tried.index(best)
    ratios = {-1: tried[place] / tried[place - 1], 1: tried[place + 1] / tried[place]}
    open_to = {side: any(step * side > 0 for step in points.steps) for side in (-1, 1)}

    def rate_at(share: float) -> float:
        return float(f"{best * ratios[1 if share > 0 else -1] ** share:.12g}")

    def loss_at(share: float) -> float:
        step = _step(points, share)
        return a + b * step + curve.c * step**2 + curve.d * step**3

    places = [share for share in _PLACES if share == 0 or open_to[1 if share > 0 else -1]]
    lowest = min(places, key=lambda share: (loss_at(share), abs(share)))
    return Choice(
        rate=rate_at(lowest),
        loss=loss_at(lowest),
        fitted=True,
        low=rate_at(min(places)),
        high=rate_at(max(places)),
        curvature=curve.c,
    )


def _step(points: _Points, share: float) -> float:
    """A share of the way to the next rate, in the fit's steps; they differ where the rates are unevenly spaced."""
    if share == 0:
        return 0.0
    side: Sequence[float] = [step for step in points.steps if step * share > 0]
    return abs(share) * min(side, key=abs)
