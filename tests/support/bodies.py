"""What the worker processes of the parity tests run: gradients, weights after updates, and whole trials."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.data.inputs import TEXT, Inputs
from trainer.trial import TrialSpec

MICRO_BATCHES = (1, 5, 8, 1000)
# The last is `full`: all rows of the test's data set.
GLOBAL_BATCHES = (1, 16, 17, 51, 60)
Flat = npt.NDArray[Any]


def open_learner(world: Any, trial: TrialSpec, inputs: Inputs = TEXT) -> Any:
    from trainer.update.collective import Collective
    from trainer.update.shape import Shape
    from trainer.update.update import Learner

    shape = Shape(
        model=trial.model,
        vocabulary_size=40,
        outputs=40 if trial.task == "language_model" else 3,
        task=trial.task,
        optimizer=trial.optimizer,
        dtype=trial.dtype,
        inputs=inputs,
    )
    return Learner(shape, Collective(world))


def open_data(folder: str) -> Any:
    from trainer.data.manifest import SPLITS, read
    from trainer.data.rows import open_rows
    from trainer.data.splits import Data
    from trainer.data.store import Folder

    data = Folder(folder)
    manifest = read(data)
    return Data(*(open_rows(data, manifest.splits[name], manifest.inputs) for name in SPLITS))


def gradients(
    world: Any, folder: str, trials: Mapping[int, TrialSpec], batches: tuple[int, ...] = GLOBAL_BATCHES
) -> dict[tuple[int, int, int], Flat]:
    """The gradient of the second update of each trial, for each global batch and micro-batch: {(trial, B, m): flat}."""
    from trainer.data import share
    from trainer.data.manifest import read
    from trainer.data.store import Folder
    from trainer.order import plan

    rows, inputs, found = open_data(folder).train, read(Folder(folder)).inputs, {}
    for number, trial in trials.items():
        learner = open_learner(world, trial, inputs)
        learner.start(trial)
        for batch, micro_batch in itertools.product(batches, MICRO_BATCHES):
            positions = plan.positions_of(1, batch)
            mine = plan.share(positions, rank=world.rank, workers=world.workers)
            taken = share.read_share(replace(trial, global_batch=batch), rows, mine, micro_batch)
            for one in taken.micro_batches:
                learner.add(one)
            mean_loss, arrays = learner.gradient(global_batch=batch)
            found[number, batch, micro_batch] = np.concatenate([[mean_loss], *(array.ravel() for array in arrays)])
    return found


def weights_after(
    world: Any, folder: str, trial: TrialSpec, updates: int, optimizers: Sequence[str]
) -> dict[tuple[str, int], Flat]:
    """All weights after `updates` updates of 17 rows, for each optimizer and two micro-batches."""
    from trainer.data import share

    rows, found = open_data(folder).train, {}
    for optimizer in optimizers:
        here = replace(trial, optimizer=optimizer)
        learner = open_learner(world, here)
        for micro_batch in (5, 1000):
            learner.start(here)
            shares = share.shares_of(here, rows, world, micro_batch, 0)
            for _ in range(updates):
                for one in next(shares).micro_batches:
                    learner.add(one)
                assert learner.update(global_batch=here.global_batch).finite
            found[optimizer, micro_batch] = np.concatenate([array.ravel() for array in learner.weights()])
    return found


def curves(world: Any, folder: str, trial: TrialSpec, micro_batch: int, times: int, checkpoints: str) -> list[Any]:
    """The evaluations of a whole trial, trained `times` times on one learner."""
    learner = open_learner(world, trial)
    return [trained(learner, folder, trial, f"{checkpoints}/{time}", micro_batch) for time in range(times)]


def trained(learner: Any, folder: str, trial: TrialSpec, checkpoints: str, micro_batch: int = 64) -> tuple[Any, Any]:
    """The evaluations and the outcome of a whole trial."""
    from trainer.checkpoint import Checkpoints
    from trainer.data.store import Folder
    from trainer.loop import train

    published: list[Any] = []
    outcome = train(
        trial,
        learner=learner,
        data=open_data(folder),
        micro_batch=micro_batch,
        checkpoints=Checkpoints(Folder(checkpoints), trial.trial_id),
        checkpoint_every_seconds=60,
        publish=published.append,
        heartbeat=lambda progress: None,
    )
    return published, outcome
