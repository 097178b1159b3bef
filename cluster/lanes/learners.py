"""The learners that a lane's worker keeps from trial to trial.

Axes of dtype and optimizer alternate between shapes, up to 32 of them. A learner that is dropped gives back its
variables, but TensorFlow keeps 12 MiB of the functions that XLA compiled for it, and the next trial of that shape
traces them again, which takes 5 s (the built-in model, development machine, 2 cores, 2026-11-28). So a few learners are
kept whatever their size, and more as long as all of them together are small.
"""

import gc
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainer.update.shape import Shape
    from trainer.update.update import Learner

KEPT_AT_LEAST, KEPT_BYTES = 4, 512 * 2**20
# A weight or an optimizer's variable in float64.
BYTES_EACH = 8


class Learners:
    """One learner for each shape of trials; those used longest ago are dropped first."""

    def __init__(self, make: "Callable[[Shape], Learner]") -> None:
        self._make = make
        # The most recently used learner comes last.
        self._kept: dict[Shape, Learner] = {}

    def of(self, shape: "Shape") -> "Learner":
        """The learner for trials of `shape`: the one already traced, or a new one."""
        learner = self._kept.pop(shape, None) or self._make(shape)
        self._kept[shape] = learner
        dropped = False
        while len(self._kept) > KEPT_AT_LEAST and sum(map(held_bytes, self._kept.values())) > KEPT_BYTES:
            del self._kept[next(iter(self._kept))]
            dropped = True
        if dropped:
            # A learner and its functions refer to each other.
            gc.collect()
        return learner


def held_bytes(learner: "Learner") -> int:
    """The most bytes that its variables take: the weights, the sums of their gradients, the optimizer's, averages."""
    held = [*learner.model.variables, *learner.model.variables, *learner.optimizer.variables, *learner.averages]
    most: int = BYTES_EACH * sum(math.prod(variable.shape) for variable in held)
    return most
