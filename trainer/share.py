"""A worker's shares: of each update in turn, the rows at its positions, read and cut into micro-batches."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from trainer import plan
from trainer.collective import World
from trainer.order import rows_at
from trainer.rows import Ints, Rows
from trainer.trial import TrialSpec
from trainer.update import MicroBatch
from trainer.window import shards_needed


@dataclass(frozen=True)
class Share:
    """A worker's share of one update, and how many tokens of it are real and how many are computed."""

    micro_batches: list[MicroBatch]
    real_tokens: int
    padded_tokens: int


def shares_of(trial: TrialSpec, rows: Rows, world: World, micro_batch: int, first_update: int) -> Iterator[Share]:
    """This worker's share of each update from `first_update` on, without end."""
    rows.keep_open(shards_needed(rows.first, trial.window_rows))
    update = first_update
    while True:
        positions = plan.positions_of(update, trial.global_batch)
        yield read_share(trial, rows, plan.share(positions, rank=world.rank, workers=world.workers), micro_batch)
        update += 1


def read_share(trial: TrialSpec, rows: Rows, positions: range, micro_batch: int) -> Share:
    """The rows at `positions`, as micro-batches of about equal length."""
    numbers = rows_at(positions, rows=len(rows), seed=trial.seed, window_rows=trial.window_rows)
    lengths = rows.lengths(numbers)
    batches = []
    for chunk in plan.micro_batches(lengths, micro_batch=micro_batch):
        tokens, labels = map(tf.constant, read_arrays(trial.task, rows, numbers[chunk]))
        batches.append(
            MicroBatch(tokens=tokens, labels=labels, positions=tf.constant(positions.start + chunk, tf.int64))
        )
    return Share(batches, int(lengths.sum()), sum(int(np.prod(batch.tokens.shape[:2])) for batch in batches))


def read_arrays(task: str, rows: Rows, numbers: Ints) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """What goes into the model for some rows (`Rows.tokens`), and their labels, the same for language_model."""
    tokens = rows.tokens(numbers)
    return tokens, tokens if task == "language_model" else rows.labels(numbers)
