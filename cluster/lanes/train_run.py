"""A Ray Train run without the processes that a lane has no use for: each costs seconds at its start, and memory."""

from ray.train.v2._internal.callbacks import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2.api.callback import RayTrainCallback
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer


class TrainRun(DataParallelTrainer):
    """Train's trainer of a function, without Ray Data and without Train's cleaner of placement groups.

    The cleaner is a process for each group that frees the workers' places when their controller was killed, for which
    it needs an API server. A local Ray has none: there it never frees any, and its end takes 12 s
    (`PlacementGroupCleaner.stop`, `GET_ACTOR_TIMEOUT_S`). The board frees them instead (`cluster.lanes.places`).
    """

    def _create_default_callbacks(self) -> list[RayTrainCallback]:
        useless = (DatasetsCallback, PlacementGroupCleanerCallback)
        return [callback for callback in super()._create_default_callbacks() if not isinstance(callback, useless)]
