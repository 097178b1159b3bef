"""The gradient noise scale tr(Sigma) / |G|^2: how many rows a gradient averages when its noise is as large as itself.

McCandlish et al. 2018 (arXiv:1812.06162, section 2.2 and appendix A.1, "B_simple"). The unit is rows, also for
language_model, where a row's gradient is the sum over its targets and G the mean of such sums. It is an order of
magnitude, not a verdict: it grows as a trial goes on and moves with the learning rate. The randomness of dropout counts
as noise.

Few updates are measured (`trainer.order.measuring`), each before clipping. On a CPU, at 16, 64 and 256 rows of 75
tokens, a measured update took 3.4, 1.4 and 1.7 times the processor time of another with 32 units, and 2.6, 1.1 and 1.6
times with 128 units: 0.1 to 2.4 % of a trial. In addition, shapes that no other update has are compiled once in each
process, which takes up to some seconds.

A measured share is cut into micro-batches in the order of its positions, which is random, and not by length like other
shares: rows of one length have similar gradients, which would pass for noise. The noise of an estimate itself depends
on the batch: far below the noise scale, |G|^2 is a small difference of large numbers, and a few updates may show no
more than its sign.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np


class Moments(NamedTuple):
    """Unbiased estimates of |G|^2 and of tr(Sigma), the trace of the covariance of one row's gradient."""

    squared_gradient: float
    trace: float


def moments(*, rows: float, squared: float, part_rows_squared: float, parts_squared: float) -> Moments:
    """The estimates from one update: from the gradient sums over the whole batch, and over the parts it was cut into.

    `squared` is |S|^2 of the sum S over all `rows`; `parts_squared` the sum of |s_j|^2 over the parts of all workers,
    and `part_rows_squared` that of the squares of their rows. A sum over b rows has E|s|^2 = b^2 |G|^2 + b tr(Sigma),
    so that the two sums of squares are two linear equations, whatever the sizes of the parts.
    """
    squared_gradient = (squared - parts_squared) / (rows**2 - part_rows_squared)
    return Moments(squared_gradient, (squared - rows**2 * squared_gradient) / rows)


def scale(measured: Sequence[Sequence[float]]) -> float | None:
    """The noise scale in rows from the `Moments` of some updates: the ratio of their averages.

    It is not the average of their ratios, which is far off if some |G|^2 comes out near zero. None if nothing was
    measured, or if |G|^2 is not above zero, which shows only that the scale is large.
    """
    found = average(measured)
    if found is None or not found.squared_gradient > 0:
        return None
    ratio = found.trace / found.squared_gradient
    return ratio if math.isfinite(ratio) else None


def average(measured: Sequence[Sequence[float]]) -> Moments | None:
    """The averages of the `Moments` of some updates; None if nothing was measured, or if one of them is infinite."""
    if not measured:
        return None
    squared_gradient, trace = np.mean(measured, axis=0).tolist()
    return Moments(squared_gradient, trace) if math.isfinite(squared_gradient + trace) else None


def squared_norm(gradients: Iterable[Any]) -> Any:
    """|s|^2 of a gradient, float64. An embedding's has a row for each use of a token; these are summed first."""
    # Whoever needs the algebra alone, as a reader of rows, waits for no TensorFlow.
    import tensorflow as tf

    return tf.add_n([_squared(gradient) for gradient in gradients if gradient is not None])


def _squared(gradient: Any) -> Any:
    import tensorflow as tf

    if isinstance(gradient, tf.IndexedSlices):
        tokens, places = tf.unique(gradient.indices)
        gradient = tf.math.unsorted_segment_sum(gradient.values, places, tf.size(tokens))
    return tf.reduce_sum(tf.square(tf.cast(gradient, tf.float64)))
