"""Each row's loss, its number of targets, and how many of them are predicted right; a batch is the sum of its rows.

Shapes: logits [rows, outputs], or [rows, tokens, outputs] for language_model; labels [rows], class numbers int32 or
floats, or for language_model the tokens themselves, int32 [rows, tokens]. Results are [rows]; losses have the dtype of
the logits.

A language model's targets are all tokens of a row but the first, each predicted from those before it: a row of n tokens
has n - 1 targets, a row of one token has none, and padding is not a target.
"""

import math
from typing import Any

import tensorflow as tf

from trainer.data.manifest import PADDING_ID


def per_row(task: str, labels: Any, logits: Any) -> Any:
    """The loss of each row: cross entropy in nats, summed over its targets for language_model, or the squared error."""
    if task == "classification":
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    if task == "language_model":
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels[:, 1:], logits=logits[:, :-1])
        # `where` instead of a product, because the loss of padding may be infinite and must not matter.
        return tf.reduce_sum(tf.where(_is_target(labels), losses, tf.zeros_like(losses)), axis=1)
    return tf.math.squared_difference(logits[:, 0], tf.cast(labels, logits.dtype))


def targets(task: str, labels: Any) -> Any:
    """The number of losses that are summed in a row's loss, float64 [rows]: its next tokens, or 1."""
    if task == "language_model":
        return tf.reduce_sum(tf.cast(_is_target(labels), tf.float64), axis=1)
    return tf.ones(tf.shape(labels), tf.float64)


def right(task: str, labels: Any, logits: Any) -> Any:
    """How many of a row's targets the model predicts right, float64 [rows]; zeros for regression.

    A target is predicted right if it is the most likely class or next token.
    """
    if task == "classification":
        return tf.cast(tf.argmax(logits, axis=1, output_type=labels.dtype) == labels, tf.float64)
    if task == "language_model":
        hits = tf.argmax(logits[:, :-1], axis=2, output_type=labels.dtype) == labels[:, 1:]
        return tf.reduce_sum(tf.cast(hits & _is_target(labels), tf.float64), axis=1)
    return tf.zeros(tf.shape(labels), tf.float64)


def of_a_guess(task: str, *, outputs: int) -> float | None:
    """The loss of an even guess among the outputs, in nats per target; None for regression, where it has no meaning."""
    return None if task == "regression" else math.log(outputs)


def _is_target(tokens: Any) -> Any:
    return tokens[:, 1:] != PADDING_ID
