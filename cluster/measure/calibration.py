"""The calibration: runs as many workers as the study's lanes have here for some seconds, and collects what they saw.

They run side by side because lanes share a machine's memory and cores: on two virtual cores, each of two lanes is
slower than one alone. The workers of a lane sum over each other as in the study. For a cluster, one of its machines is
measured (`cluster.measure.calibration_there`).
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cluster.measure.calibration_worker import Task
from cluster.measure.processes import lanes
from cluster.measure.seen import Seen
from cluster.study.capacity import this_machine
from trainer.trial import TrialSpec

if TYPE_CHECKING:
    from cluster.study.study import Study

BATCHES_AT_MOST = 4
SECONDS_OF_UPDATES = 5.0
# The part of a calibration that starts processes and imports TensorFlow.
SHARE_OF_STARTING = 0.2


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What one machine showed, by the workers of a lane: what each worker saw, and how many lanes ran side by side.

    The machine has `cpus`; one of a cluster has an `instance_type` too.
    """

    seen: dict[int, list[Seen]]
    lanes: dict[int, int]
    cpus: float
    instance_type: str | None = None


def calibration(study: "Study", tell: Callable[[float], None]) -> Calibration:
    """Calibrate every layout of the study's lanes on this machine; `tell` is called with the progress from 0 to 1.

    Raises:
        FailedError: a worker failed, or ended without an answer, as when it runs out of memory.
        InputError: the model cannot be built, or the data are no longer those of the study.
    """
    numbers = sorted(set(study.workers.values()))
    seen: dict[int, list[Seen]] = {}
    for number, workers in enumerate(numbers):

        def tell_all(share: float, before: int = number) -> None:
            tell((before + share) / len(numbers))

        seen[workers] = calibrate(study, workers=workers, tell=tell_all)
    return Calibration(
        seen=seen,
        lanes={workers: lanes_here(study, workers) for workers in numbers},
        cpus=this_machine(with_gpus=False).cpus,
    )


def calibrate(study: "Study", *, workers: int, tell: Callable[[float], None]) -> list[Seen]:
    """What each worker of the study's lanes of `workers` saw; `tell` is called with the progress from 0 to 1.

    Raises:
        FailedError: a worker failed, or ended without an answer, as when it runs out of memory.
        InputError: the model cannot be built, or the data are no longer those of the study.
    """
    with lanes(_task(study, workers), lanes_here(study, workers)) as started:
        for lane in started:
            lane.answers()
        tell(SHARE_OF_STARTING)
        for lane in started:
            lane.ask("see")
        # The other lanes are about as far.
        seen = started[0].answers(lambda share: tell(SHARE_OF_STARTING + (1 - SHARE_OF_STARTING) * share))
        return [*seen, *(one for lane in started[1:] for one in lane.answers())]


def lanes_here(study: "Study", workers: int) -> int:
    """How many of the study's lanes of `workers` this machine holds at once; at least one."""
    resources, cores = study.spec.resources, len(os.sched_getaffinity(0))
    held = [int(cores / resources.cpus_per_worker) // workers]
    if resources.gpus_per_worker:
        held.append(int(_cards() / resources.gpus_per_worker) // workers)
    return max(1, min(study.placed.lanes, *held))


def _cards() -> float:
    """The cards that this process may use: those that Ray gave it, or all."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    return this_machine(with_gpus=True).gpus if given is None else len(given.split(","))


def kinds(trials: Sequence[TrialSpec]) -> dict[tuple[str, str], TrialSpec]:
    """A trial of each optimizer and dtype, with the middle global batch."""
    found: dict[tuple[str, str], list[TrialSpec]] = {}
    for trial in trials:
        found.setdefault((trial.optimizer, trial.dtype), []).append(trial)
    return {kind: sorted(same, key=lambda one: one.global_batch)[len(same) // 2] for kind, same in found.items()}


def _task(study: "Study", workers: int) -> Task:
    trials = [trial for trial in study.trials if study.workers[trial.global_batch] == workers]
    found = tuple(kinds(trials).values())
    batches = _spread_out(sorted({trial.global_batch for trial in trials}))
    return Task(
        data=study.spec.data,
        trials=found,
        batches=batches,
        micro_batches={batch: study.micro_batches[batch] for batch in {trial.global_batch for trial in trials}},
        threads=study.placed.threads_per_worker,
        workers=workers,
        gpus_per_worker=study.spec.resources.gpus_per_worker,
        limit_bytes=study.memory_bytes,
        seconds_a_batch=SECONDS_OF_UPDATES / len(found) / len(batches),
        started=time.time(),
    )


def _spread_out(batches: Sequence[int]) -> tuple[int, ...]:
    """At most BATCHES_AT_MOST of the batches, including the smallest and the largest."""
    picked = np.linspace(0, len(batches) - 1, min(len(batches), BATCHES_AT_MOST)).round().astype(int)
    return tuple(batches[number] for number in picked.tolist())
