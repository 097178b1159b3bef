"""A worker's shares of one update after the other: the rows at its positions, read and cut into micro-batches."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from trainer.data.rows import Rows
from trainer.order import plan, share_cuts
from trainer.order.measuring import is_measured
from trainer.order.permutation import rows_at
from trainer.order.shapes import Ints
from trainer.order.window import shards_needed
from trainer.order.world import World
from trainer.trial import TrialSpec

ALONE = World()


@dataclass(frozen=True, kw_only=True)
class MicroBatch:
    """Rows that go through the model at once: tokens (`Rows.tokens`), labels, and positions int64 [rows].

    `labels` have the shape [rows], or are the tokens for language_model (`read_arrays`).
    """

    tokens: Any
    labels: Any
    positions: Any


@dataclass(frozen=True)
class Share:
    """A worker's share of one update, with the number of its real tokens and of those that go into the model.

    The LSTM on CPUs leaves out most of the difference (`trainer.model.packing`).

    `measured` is True if the update's gradient noise is measured (`trainer.update.noise`), for which the share is cut
    in another way.
    """

    micro_batches: list[MicroBatch]
    real_tokens: int
    padded_tokens: int
    measured: bool = False


def shares_of(trial: TrialSpec, rows: Rows, world: World, micro_batch: int, first_update: int) -> Iterator[Share]:
    """This worker's share of each update from `first_update` on; it never ends."""
    rows.keep_open(shards_needed(rows.first, trial.window_rows))
    update = first_update
    while True:
        positions = plan.positions_of(update, trial.global_batch)
        if is_measured(update, global_batch=trial.global_batch):
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

    With a `world`, only the rows that are dealt to this worker.
    """
    numbers = rows_at(positions, rows=len(rows), seed=trial.seed, window_rows=trial.window_rows)
    lengths = rows.lengths(numbers)
    if measured:
        chunks = share_cuts.in_order(len(numbers), global_batch=trial.global_batch, micro_batch=micro_batch)
    else:
        chunks = share_cuts.dealt(lengths, rank=world.rank, workers=world.workers, micro_batch=micro_batch)
    batches = []
    for chunk in chunks:
        tokens, labels = map(tf.constant, read_arrays(trial.task, rows, numbers[chunk]))
        batches.append(
            MicroBatch(tokens=tokens, labels=labels, positions=tf.constant(positions.start + chunk, tf.int64))
        )
    real = sum(int(lengths[chunk].sum()) for chunk in chunks)
    padded = sum(int(np.prod(batch.tokens.shape[:2])) for batch in batches)
    return Share(batches, real, padded, measured)


def read_arrays(task: str, rows: Rows, numbers: Ints) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """The model's input for some rows (`Rows.tokens`), and their labels, which for language_model are that input."""
    tokens = rows.tokens(numbers)
    return tokens, tokens if task == "language_model" else rows.labels(numbers)
