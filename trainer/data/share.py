"""A worker's shares: of each update in turn, the rows at its positions, read and cut into micro-batches."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from trainer.data.rows import Ints, Rows
from trainer.order import plan
from trainer.order.permutation import rows_at
from trainer.order.window import shards_needed
from trainer.trial import TrialSpec
from trainer.update import noise
from trainer.update.collective import World
from trainer.update.update import MicroBatch

ALONE = World()


@dataclass(frozen=True)
class Share:
    """A worker's share of one update, and how many tokens of it are real and how many go into the model.

    The LSTM on CPUs leaves most of the difference out (`trainer.model.packing`).

    `measured` says that the update's gradient noise is measured (`trainer.update.noise`), for which it is cut
    otherwise.
    """

    micro_batches: list[MicroBatch]
    real_tokens: int
    padded_tokens: int
    measured: bool = False


def shares_of(trial: TrialSpec, rows: Rows, world: World, micro_batch: int, first_update: int) -> Iterator[Share]:
    """This worker's share of each update from `first_update` on, without end."""
    rows.keep_open(shards_needed(rows.first, trial.window_rows))
    update = first_update
    while True:
        positions = plan.positions_of(update, trial.global_batch)
        if noise.is_measured(update, global_batch=trial.global_batch):
            mine = plan.share(positions, rank=world.rank, workers=world.workers)
            yield read_share(trial, rows, mine, micro_batch, measured=True)
        else:
            yield read_share(trial, rows, positions, micro_batch, world=world)
        update += 1


def read_share(
    trial: TrialSpec,
    rows: Rows,
    positions: range,
    micro_batch: int,
    *,
    measured: bool = False,
    world: World = ALONE,
) -> Share:
    """The rows at `positions` as micro-batches of about equal length; if `measured`, in order (`trainer.update.noise`).

    With a `world`, only those that are dealt to this worker.
    """
    numbers = rows_at(positions, rows=len(rows), seed=trial.seed, window_rows=trial.window_rows)
    lengths = rows.lengths(numbers)
    mine = np.arange(len(numbers))
    if world.workers > 1:
        mine = plan.dealt(lengths, rank=world.rank, workers=world.workers)
        numbers, lengths = numbers[mine], lengths[mine]
    sorted_by = lengths
    if measured:
        sorted_by, micro_batch = np.zeros_like(lengths), min(micro_batch, noise.part_rows(trial.global_batch))
    batches = []
    for chunk in plan.micro_batches(sorted_by, micro_batch=micro_batch):
        tokens, labels = map(tf.constant, read_arrays(trial.task, rows, numbers[chunk]))
        batches.append(
            MicroBatch(tokens=tokens, labels=labels, positions=tf.constant(positions.start + mine[chunk], tf.int64))
        )
    padded = sum(int(np.prod(batch.tokens.shape[:2])) for batch in batches)
    return Share(batches, int(lengths.sum()), padded, measured)


def read_arrays(task: str, rows: Rows, numbers: Ints) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """What goes into the model for some rows (`Rows.tokens`), and their labels, the same for language_model."""
    tokens = rows.tokens(numbers)
    return tokens, tokens if task == "language_model" else rows.labels(numbers)
