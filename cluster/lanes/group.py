"""A lane's warm worker group: one Ray Train run in a thread, from the moment its machines arrive until they leave.

Train places the workers, which makes the autoscaler start machines where some are missing, and watches their health.
It replaces no worker: a group that lost one ends, and the lane decides what comes next and on how many workers.
(Train's own restart keeps the number of workers and tells nobody that an attempt was lost; its elastic groups take
account neither of fractions of a GPU nor of what a trial has already repeated.)
"""

import contextlib
import os
import threading
from collections.abc import Mapping

import ray
import ray.train
import ray.util
from ray.train.v2.api.config import FailureConfig

from cluster.lanes.backend import CollectiveConfig
from cluster.lanes.settings import LaneSettings
from cluster.lanes.train_run import RunInActor
from cluster.lanes.worker import WorkerSettings, work

# Train passes these on to its controller, which reads them.
_TRAIN_ENVIRONMENT = {
    # By default Train gives up on a group whose machines do not arrive within a minute and asks again, from the end of
    # the queue, but a GPU machine on EC2 takes minutes to boot (ray#60376).
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": str(7 * 24 * 3600),
    # Saves one process in each group: the board sees the notices itself, and workers learn of them by heartbeat.
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    # Half of the default: how long after its last trial, or after the loss of a worker, a group is still there.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "1",
}
SECONDS_TO_END = 5.0


class WorkerGroup:
    """The workers of one lane, `workers` of them, until they are lost or closed."""

    def __init__(self, settings: LaneSettings, *, name: str, workers: int) -> None:
        self._settings, self.name, self.workers = settings, name, workers
        self.problem: BaseException | None = None
        self._killed_for: str | None = None
        self._trainer = self._new_trainer()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the group is waiting for machines, starting or running."""
        return self._thread.is_alive()

    def close(self, *, seconds: float = SECONDS_TO_END) -> None:
        """Let the workers end and wait a while; a group still waiting for machines ends with the lane's actor."""
        with contextlib.suppress(ray.exceptions.RayActorError):
            # If the board is gone, the workers end by themselves, since they ask it for their next trial.
            ray.get(self._settings.board.close.remote(self.name))
        self._thread.join(timeout=seconds)

    def kill(self, reason: str) -> None:
        """End the workers' processes, whatever they do; `problem` will name the `reason`."""
        self._killed_for = reason
        self._trainer.kill_workers()

    def _new_trainer(self) -> RunInActor:
        settings = self._settings
        return RunInActor(
            work,
            train_loop_config={
                "settings": WorkerSettings(
                    board=settings.board,
                    group=self.name,
                    data=settings.data,
                    threads=settings.threads,
                    memory_bytes=settings.memory_bytes,
                    gpus=settings.gpus_per_worker,
                    checkpoint_every_seconds=settings.checkpoint_every_seconds,
                )
            },
            backend_config=CollectiveConfig(),
            scaling_config=ray.train.ScalingConfig(
                num_workers=self.workers,
                use_gpu=settings.gpus_per_worker > 0,
                resources_per_worker=settings.resources_per_worker,
            ),
            run_config=ray.train.RunConfig(
                name=self.name,
                storage_path=settings.storage,
                failure_config=FailureConfig(max_failures=0, max_preemption_failures=0),
            ),
        )

    def _run(self) -> None:
        os.environ.update(_TRAIN_ENVIRONMENT)
        try:
            self._trainer.fit()
        except BaseException as problem:  # noqa: BLE001 - the lane reports it, in the thread that Tune listens to
            self.problem = problem if self._killed_for is None else TimeoutError(self._killed_for)


def workers_that_fit(settings: LaneSettings, wanted: int) -> int:
    """How many workers to start after a loss: `wanted`, or, if no machine arrives in time, as many as fit now.

    It is at least 1: a lane that lost its last machine waits for another, however long that takes. Meanwhile the places
    of all of them are asked for, since the autoscaler brings machines for what waits, and for nothing else.
    """
    if wanted == 1:
        return 1
    places = ray.util.placement_group([settings.resources_per_worker] * wanted)
    try:
        if places.wait(settings.seconds_for_workers):
            return wanted
    finally:
        ray.util.remove_placement_group(places)
    return max(1, min(wanted, fit(_free(), settings.resources_per_worker)))


def fit(free: Mapping[str, Mapping[str, float]], per_worker: Mapping[str, float]) -> int:
    """How many workers fit into the free resources of the nodes."""
    # Ray counts to four decimals, and the error of sums of floats is smaller than this.
    room = 1e-5
    return sum(
        min(int((node.get(name, 0.0) + room) // amount) for name, amount in per_worker.items())
        for node in free.values()
    )


def _free() -> dict[str, dict[str, float]]:
    """The resources that are free now on each node that is not being reclaimed."""
    from ray._private.state import state

    from cluster.lanes.board import draining_nodes

    draining = draining_nodes()
    return {node: free for node, free in state.available_resources_per_node().items() if node not in draining}
