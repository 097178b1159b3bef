"""Ray Train runs without the processes that a lane has no use for: each costs seconds at its start, and memory."""

import asyncio
import contextlib
import threading
from typing import Any

import ray
from ray.train import Result
from ray.train.v2._internal.callbacks import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.execution.context import TrainRunContext
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2._internal.execution.scaling_policy import FixedScalingPolicy
from ray.train.v2.api.callback import RayTrainCallback
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

SECONDS_BETWEEN_LOOKS = 0.2


class TrainRun(DataParallelTrainer):
    """Train's trainer of a function, without Ray Data, Train's cleaner of placement groups and its coordinator.

    The cleaner is a process for each group that frees the workers' places when their controller was killed, for which
    it needs an API server. A local Ray has none: there it never frees any, and its end takes 12 s
    (`PlacementGroupCleaner.stop`, `GET_ACTOR_TIMEOUT_S`). The board frees them instead (`cluster.lanes.places`).
    """

    def _create_default_callbacks(self) -> list[RayTrainCallback]:
        useless = (DatasetsCallback, PlacementGroupCleanerCallback)
        return [callback for callback in super()._create_default_callbacks() if not isinstance(callback, useless)]


class StoppableRun(TrainRun):
    """A Train run of a driver, whose `fit` is called in a thread and ends soon after `stop`.

    `ray.shutdown` while another thread waits in `ray.get` ends the process with a segmentation fault, now and then.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._stopping, self._over = threading.Event(), threading.Event()

    def fit(self) -> Result:
        """Train to the end.

        Raises:
            TrainingFailedError: the training failed.
            RuntimeError: it was stopped.
        """
        try:
            return super().fit()
        finally:
            self._over.set()

    def stop(self, seconds: float) -> None:
        """End the run, and wait for the end of `fit`, at most so long."""
        self._stopping.set()
        self._over.wait(seconds)

    def _initialize_and_run_controller(self, **arguments: Any) -> Result:
        here = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}
        actor: Any = ray.remote(num_cpus=0, label_selector=here)(TrainController)
        controller = actor.remote(**_by_places_alone(arguments, self.scaling_config))
        running = controller.run.remote()
        while not ray.wait([running], timeout=SECONDS_BETWEEN_LOOKS)[0]:
            if self._stopping.is_set():
                ray.kill(controller)
                raise RuntimeError("the run was stopped")
        ray.get(running)
        result: Result = ray.get(controller.get_result.remote())
        return result


class RunInActor(TrainRun):
    """A Train run whose controller is an object of the actor that calls `fit`, not a process of its own.

    A lane waits for its controller and does nothing beside it, and imports what the controller needs: one process in
    place of two saves 3 s of a core at a lane's start, and its memory on the head.
    """

    controller: TrainController | None = None

    def kill_workers(self) -> None:
        """End the workers' processes at once; the controller then sees that they are gone."""
        group = self.controller and self.controller._worker_group
        # Train refuses to list the workers of a group that is ending already.
        with contextlib.suppress(ValueError):
            for worker in group.get_workers() if group else []:
                ray.kill(worker.actor)

    def _initialize_and_run_controller(self, **arguments: Any) -> Result:
        self.controller = TrainController(**_by_places_alone(arguments, self.scaling_config))
        asyncio.run(self.controller.run())
        return self.controller.get_result()


class _PlacesAlone(FixedScalingPolicy):
    """Asks for machines by the workers' placement group alone, which the autoscaler sees by itself.

    Train also asks its coordinator, an actor shared with Ray Data, to ask the autoscaler for the same resources once
    more (`ray.autoscaler.sdk.request_resources`): one more process in the chain that starts before a worker.
    """

    def after_controller_start(self, train_run_context: TrainRunContext) -> None:
        """Ask nobody."""

    def _maybe_send_resource_request(self) -> None:
        """Ask nobody."""


def _by_places_alone(arguments: dict[str, Any], scaling_config: Any) -> dict[str, Any]:
    return arguments | {"scaling_policy": _PlacesAlone(scaling_config)}
