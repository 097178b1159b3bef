"""`batchscope check` on Ray: the proof of `trainer.check` for some trials, on two workers that sum their gradients."""

import tempfile
from collections.abc import Sequence
from typing import Any

import ray
import ray.train
from ray.train import TrainingFailedError
from ray.util.queue import Queue

from cluster.lanes.backend import CollectiveConfig
from cluster.lanes.train_run import StoppableRun
from cluster.process import scratch
from cluster.process.deadline import within
from cluster.stores import store_of
from trainer.check import Proof
from trainer.errors import DataError
from trainer.order.layouts import SMALL_MICRO_BATCH
from trainer.trial import TrialSpec

WORKERS = 2
SECONDS_TO_STOP = 10.0


def check(trials: Sequence[TrialSpec], *, data: str) -> list[Proof]:
    """Compare the layouts on the first global batch of each of `trials`, on the Ray that is connected.

    Raises:
        DataError: the data at `data` are damaged, or are not those of the trials.
    """
    answers = Queue(actor_options={"num_cpus": 0})
    with scratch.folder("batchscope-check-", tempfile.gettempdir()) as storage:
        trainer = StoppableRun(
            _compare,
            train_loop_config={"trials": trials, "data": data, "answers": answers},
            backend_config=CollectiveConfig(),
            # Half a CPU each: speed does not matter here, and the check must fit where a lane of one worker fits.
            scaling_config=ray.train.ScalingConfig(num_workers=WORKERS, resources_per_worker={"CPU": 0.5}),
            run_config=ray.train.RunConfig(name="check", storage_path=storage),
        )
        try:
            # In the main thread Train would install its own handler for Ctrl-C.
            within(None, trainer.fit)
        except TrainingFailedError:
            _raise_wrong_data(answers)
            raise
        except BaseException:
            # Before Ray ends, nothing may wait for it any more.
            trainer.stop(SECONDS_TO_STOP)
            raise
    proofs: list[Proof] = [answers.get(block=False) for _ in trials]
    answers.shutdown()
    return proofs


def _raise_wrong_data(answers: Queue) -> None:
    while not answers.empty():
        if isinstance(answer := answers.get(block=False), DataError):
            raise answer


def _compare(config: dict[str, Any]) -> None:
    """Runs on each of the two workers. Rank 0 answers, and so does any worker that finds wrong data."""
    try:
        _prove(config)
    except DataError as problem:
        config["answers"].put(problem)
        raise


def _prove(config: dict[str, Any]) -> None:
    from trainer.check import prove
    from trainer.data.splits import open_data
    from trainer.machine import device
    from trainer.order.world import World
    from trainer.update.collective import Collective
    from trainer.update.shape import Shape
    from trainer.update.update import Learner

    device.set_up(threads=0, gpus=len(ray.get_gpu_ids()))
    context = ray.train.get_context()
    world = World(context.get_world_rank(), context.get_world_size())
    trials: Sequence[TrialSpec] = config["trials"]
    collective, (manifest, data) = Collective(world), open_data(store_of(config["data"]), trials[0].data_hash)
    for trial in trials:
        learner = Learner(Shape.of(trial, manifest), collective)
        proof = prove(trial, learner, data, micro_batch=SMALL_MICRO_BATCH)
        if world.rank == 0:
            config["answers"].put(proof)
