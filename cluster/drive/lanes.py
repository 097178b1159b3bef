"""The lanes of an open study: their common settings and their schedule, on the Ray that is connected."""

from collections.abc import Callable

import pyarrow as pa

from cluster.drive.opening import CODE_VERSION, Opened
from cluster.lanes import pulse
from cluster.lanes.board import start_board
from cluster.lanes.events import TrialEvent
from cluster.lanes.schedule import Schedule
from cluster.lanes.settings import LaneSettings
from cluster.study import memory, placement
from cluster.study.at_once import RowsAtOnce
from cluster.study.study import Study, sizes_of
from cluster.summary import query
from cluster.summary.known_losses import memory_model

# How long a lane that lost a machine waits for another before it goes on with fewer workers. A spot machine comes back
# within minutes or not for hours; if no machine can come, the lane waits only for the dead workers' resources.
SECONDS_FOR_MACHINES = 300.0
SECONDS_FOR_WORKERS = 15.0
SECONDS_WITHOUT_STEP = pulse.SECONDS_AT_LEAST


def begun_schedule(here: Opened, storage: str, watch: Callable[[TrialEvent], None]) -> Schedule:
    """Start the schedule of the trials that have no answer yet, with Tune's files in the folder `storage`.

    `watch` is called with their events, in another thread.
    """
    study = here.study
    schedule = Schedule(
        here.unfolding,
        lanes=min(study.placed.lanes, len(study.expected())),
        settings=_settings(here, storage),
        stop_early=study.spec.protocol is not None and study.spec.protocol.stop_early,
        begins=here.declaration.declare,
        watch=watch,
    )
    schedule.start()
    return schedule


def _settings(here: Opened, storage: str) -> LaneSettings:
    study, spec, summary = here.study, here.study.spec, here.summary
    return LaneSettings(
        study=spec.study,
        board=start_board(here.micro_batches),
        recorder=summary,
        data=spec.data,
        train_rows=study.manifest.splits["train"].rows,
        checkpoints=f"{summary.uri}/checkpoints/study={spec.study}",
        checkpoint_every_seconds=spec.checkpoint_every_seconds,
        workers=study.workers,
        cpus_per_worker=spec.resources.cpus_per_worker,
        gpus_per_worker=spec.resources.gpus_per_worker,
        threads=study.placed.threads_per_worker,
        micro_batches=study.micro_batches,
        rows_at_once=rows_at_once(study, query.probes(summary, spec.study)),
        memory_bytes=study.memory_bytes,
        seconds_for_workers=SECONDS_FOR_MACHINES if study.capacity.grows else SECONDS_FOR_WORKERS,
        seconds_without_step=SECONDS_WITHOUT_STEP,
        facts={"spec_hash": study.spec_hash, "code_version": CODE_VERSION},
        storage=storage,
    )


def rows_at_once(study: Study, probes: pa.Table) -> dict[str, RowsAtOnce]:
    """The rows with which a worker begins, for each dtype: by the latest of `probes`, or by an estimate of memory."""
    most: dict[str, int] = {}
    for trial in study.trials:
        if study.memory_bytes is None:
            break
        model = memory_model(probes, trial) or memory.guess(trial, **sizes_of(trial, study.manifest))
        rows = model.first_rows(limit_bytes=study.memory_bytes, length=study.manifest.longest)
        most[trial.dtype] = min(rows, most.get(trial.dtype, rows))
    resources = study.spec.resources
    return {dtype: placement.rows_at_once(resources, most.get(dtype)) for dtype in study.spec.axes.dtype}
