"""What a row's loss is, and whether its prediction is right: per row, so that any batch is a sum.

Shapes: logits [rows, outputs]; labels [rows], class numbers int32 or floats. Losses come back [rows], in the dtype
of the logits.
"""

import math
from typing import Any

import tensorflow as tf


def per_row(task: str, labels: Any, logits: Any) -> Any:
    """Cross entropy in nats (classification) or the squared error (regression) of each row."""
    if task == "classification":
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    return tf.math.squared_difference(logits[:, 0], tf.cast(labels, logits.dtype))


def right(task: str, labels: Any, logits: Any) -> Any:
    """1.0 for each row whose most likely class is its label, float64 [rows]; zeros for regression."""
    if task == "classification":
        return tf.cast(tf.argmax(logits, axis=1, output_type=labels.dtype) == labels, tf.float64)
    return tf.zeros(tf.shape(labels), tf.float64)


def of_a_guess(task: str, *, outputs: int) -> float | None:
    """The cross entropy of an even guess among the outputs, in nats; None for regression, where it has no meaning."""
    return math.log(outputs) if task == "classification" else None
