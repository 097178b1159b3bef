"""Evaluation: the loss and accuracy of a whole split, by sum and count, whatever any batch size is.

The split is cut once, by length, into chunks of EVALUATION_ROWS; worker r of W computes every W-th chunk; sums and
counts are reduced over the workers and divided once.
"""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from trainer.plan import micro_batches
from trainer.rows import Rows, read_ahead
from trainer.update import Learner

EVALUATION_ROWS = 256


@dataclass(frozen=True)
class Score:
    """Mean loss over a split's rows, and the share of right predictions (None for regression)."""

    loss: float
    accuracy: float | None


def score(learner: Learner, rows: Rows) -> Score:
    """The learner's score on all of `rows`; every worker must call it and gets the same answer."""
    world = learner.collective.world
    chunks = micro_batches(rows.lengths(np.arange(len(rows))), micro_batch=EVALUATION_ROWS)[world.rank :: world.workers]
    sums = np.zeros(3)
    for tokens, labels in read_ahead((rows.tokens(chunk), rows.labels(chunk)) for chunk in chunks):
        losses, right = learner.evaluate(tokens, labels)
        sums += [losses, right, len(labels)]
    losses, right, count = learner.collective.sum(tf.constant(sums)).numpy()
    accuracy = float(right / count) if learner.shape.task == "classification" else None
    return Score(loss=float(losses / count), accuracy=accuracy)
