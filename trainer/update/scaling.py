"""The loss scale of mixed_float16: a power of two that keeps small gradients above what float16 can hold.

Gradients are taken of the loss times the scale, and divided by it in float32 before they are summed. Both steps are
exact, so any scale gives the same gradient except for float16's rounding, and each micro-batch of each worker may have
its own scale. A micro-batch whose gradient is not finite is computed again with half the scale, until the gradient is
finite or the scale is LEAST: no update is skipped, and a gradient that is not finite without a scale has diverged.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

# The usual start for the mean loss of a batch (Micikevicius et al. 2018, arXiv:1710.03740) is just as good for a sum
# over rows, in which a row is not divided by the batch: too large a scale costs a few repetitions, once a trial.
START, LEAST = 2.0**15, 1.0


class LossScale:
    """The scale of one learner; only with the dtype mixed_float16 it is not 1."""

    def __init__(self, dtype: str) -> None:
        self.used = dtype == "mixed_float16"
        self._scale = tf.Variable(START, dtype=tf.float32, trainable=False)

    def start(self) -> None:
        """Set the scale to that before a trial's first update."""
        self._scale.assign(START)

    def scaled(self, loss: Any) -> Any:
        """The loss whose gradients must be taken."""
        return loss * self._scale if self.used else loss

    def unscaled(self, gradients: list[Any]) -> list[Any]:
        """The gradients of the loss itself."""
        if not self.used:
            return gradients
        return [None if gradient is None else _divided(gradient, self._scale) for gradient in gradients]

    def use(self, gradients: list[Any], take: Callable[[], None]) -> Any:
        """Call `take` if the gradients are finite or cannot be made so, else halve the scale; return whether it did."""
        if not self.used:
            take()
            return tf.constant(True)
        finite = [tf.reduce_all(tf.math.is_finite(_values(each))) for each in gradients if each is not None]
        usable = tf.reduce_all(finite) | (self._scale <= LEAST)
        tf.cond(usable, take, self._halve)
        return usable

    def _halve(self) -> None:
        self._scale.assign(self._scale / 2)


def _values(gradient: Any) -> Any:
    return gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient


def _divided(gradient: Any, scale: Any) -> Any:
    if isinstance(gradient, tf.IndexedSlices):
        return tf.IndexedSlices(gradient.values / scale, gradient.indices, gradient.dense_shape)
    return gradient / scale
