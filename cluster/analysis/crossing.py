"""Where a validation curve crosses its target: the first crossing that the next evaluation confirms.

A curve is noisy, so its first evaluation below the target comes early by luck; a crossing that holds for a second
evaluation is much less so. The loss is interpolated against log(position), along which a training curve is nearly
straight, so that the result does not depend on where the evaluations happen to be. Pure.
"""

import math
from collections.abc import Sequence

import numpy as np


def first_confirmed(
    at: Sequence[float], losses: Sequence[float], target: float, *, ended_at_target: bool = False
) -> float | None:
    """The position at which a curve reaches `target` for good, in the unit of `at`; None if it never does.

    `at` are the increasing positions (updates, say) of the evaluations with these `losses`. The crossing belongs to
    the first evaluation at or below the target whose successor is too. The last evaluation counts on its own if the run
    `ended_at_target`, because there can be no successor then. The crossing lies between that evaluation and the one
    before it, or at that evaluation where nothing can be interpolated: there is none before it, the one before is at
    position 0, or a loss is not finite.

    Raises:
        ValueError: Positions and losses differ in number, or the positions do not increase.
    """
    _check_increasing(at, losses)
    below = [loss <= target for loss in losses]
    confirmed = [*below[1:], ended_at_target]
    found = next((number for number, pair in enumerate(zip(below, confirmed, strict=False)) if all(pair)), None)
    if found is None:
        return None
    if not found or at[found - 1] <= 0 or not math.isfinite(losses[found - 1] - losses[found]):
        return float(at[found])
    share = (losses[found - 1] - target) / (losses[found - 1] - losses[found])
    return float(at[found - 1] * (at[found] / at[found - 1]) ** share)


def at_crossing(at: Sequence[float], other: Sequence[float], crossing: float) -> float:
    """Another clock (seconds, examples) at a `crossing` of `first_confirmed`: linear between the evaluations.

    Raises:
        ValueError: The clocks differ in their number of readings, or `at` does not increase or span the crossing.
    """
    _check_increasing(at, other)
    if not len(at) or not at[0] <= crossing <= at[-1]:
        raise ValueError(f"a crossing at {crossing} lies outside the evaluations")
    return float(np.interp(crossing, at, other))


def _check_increasing(at: Sequence[float], values: Sequence[float]) -> None:
    if len(at) != len(values) or not all(np.diff(at) > 0):
        raise ValueError(f"{len(at)} positions that must increase, with {len(values)} values")
