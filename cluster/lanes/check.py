"""One real batch in every layout: whole on one worker, in small micro-batches, and on two workers that sum.

The proof of contract 2 on the user's own data and model: the gradients must agree to the tolerance of the dtype.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import ray
import ray.train
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from ray.util.queue import Queue

from cluster.lanes.backend import CollectiveConfig
from trainer.trial import TrialSpec

if TYPE_CHECKING:
    from trainer.collective import Collective
    from trainer.journey import Data
    from trainer.manifest import Manifest

WORKERS = 2
SMALL_MICRO_BATCH = 5
# Contract 2. The rest is what sums in another order differ by.
TOLERANCES = {"float32": 1e-5, "float64": 1e-12}


@dataclass(frozen=True, kw_only=True)
class Checked:
    """The relative L2 difference of each layout's gradient from the whole batch's, and the most that is allowed."""

    rows: int
    dtype: str
    micro_batches: float
    workers: float
    tolerance: float

    @property
    def largest(self) -> float:
        """The largest of the differences."""
        # NumPy's, for which what is not a number is the largest: Python's would hide it.
        return float(np.max([self.micro_batches, self.workers]))

    @property
    def passed(self) -> bool:
        """Whether every layout gives the same update."""
        return self.largest <= self.tolerance


def check(trials: Sequence[TrialSpec], *, data: str) -> list[Checked]:
    """Compare the layouts on the first global batch of each of `trials`, on the Ray that is connected."""
    answers = Queue(actor_options={"num_cpus": 0})
    with tempfile.TemporaryDirectory(prefix="batchscope-check-") as storage:
        trainer = DataParallelTrainer(
            _compare,
            train_loop_config={"trials": trials, "data": data, "answers": answers},
            backend_config=CollectiveConfig(),
            # Half a CPU each: a proof, not a race, and it must fit where a lane of one worker fits.
            scaling_config=ray.train.ScalingConfig(num_workers=WORKERS, resources_per_worker={"CPU": 0.5}),
            run_config=ray.train.RunConfig(name="check", storage_path=storage),
        )
        trainer.fit()
    found: list[Checked] = [answers.get(block=False) for _ in trials]
    answers.shutdown()
    return found


def _compare(config: dict[str, Any]) -> None:
    """On each of the two workers; rank 0 answers."""
    from cluster.lanes.worker import open_data
    from trainer.collective import Collective, World

    context = ray.train.get_context()
    world = World(context.get_world_rank(), context.get_world_size())
    collective, (manifest, data) = Collective(world), open_data(config["data"])
    for trial in config["trials"]:
        checked = _compare_one(trial, manifest, data, collective)
        if world.rank == 0:
            config["answers"].put(checked)


def _compare_one(trial: TrialSpec, manifest: "Manifest", data: "Data", collective: "Collective") -> Checked:
    """The gradient of the trial's first global batch in every layout."""
    from cluster.lanes.worker import shape_of
    from trainer import plan
    from trainer.share import read_share
    from trainer.update import Learner

    world = collective.world
    learner = Learner(shape_of(trial, manifest), collective)
    learner.start(trial)
    positions = plan.positions_of(0, trial.global_batch)

    def gradient(part: range, micro_batch: int) -> npt.NDArray[Any]:
        for one in read_share(trial, data.train, part, micro_batch).micro_batches:
            learner.add(one)
        return np.concatenate([array.ravel() for array in learner.gradient(global_batch=trial.global_batch)[1]])

    # The collective sums over both workers: alone, a worker's gradient is what it adds while the other adds nothing.
    mine, none = positions if world.rank == 0 else positions[:0], len(positions)
    whole = gradient(mine, none)
    small = gradient(mine, SMALL_MICRO_BATCH)
    both = gradient(plan.share(positions, rank=world.rank, workers=world.workers), SMALL_MICRO_BATCH)
    return Checked(
        rows=trial.global_batch,
        dtype=trial.dtype,
        micro_batches=_difference(small, whole),
        workers=_difference(both, whole),
        tolerance=TOLERANCES[trial.dtype],
    )


def _difference(found: npt.NDArray[Any], expected: npt.NDArray[Any]) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
