"""The calibration: workers as many as a study's lanes have here, side by side for some seconds, and what they saw.

Side by side, because lanes share a machine's memory and cores: on two virtual cores two lanes at once are each slower
than one alone. The workers of a lane sum over each other as they will. On a cluster, what is measured is this machine.
"""

import multiprocessing
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING

import numpy as np

from cluster.measure.calibration_worker import Task, run
from cluster.measure.seen import Seen
from trainer.errors import InputError
from trainer.trial import TrialSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.study.study import Study

BATCHES_AT_MOST = 4
SECONDS_OF_UPDATES = 5.0
# A worker that is silent for so long hangs.
SECONDS_OF_SILENCE = 300.0


class CannotCalibrateError(Exception):
    """A worker of the calibration ended without an answer; the text says what of."""


def calibrate(study: "Study", *, workers: int, tell: Callable[[float], None]) -> list[Seen]:
    """What each worker of the study's lanes of `workers` saw, with progress from 0 to 1.

    Raises:
        CannotCalibrateError: one of them ended, which out of memory it does.
        InputError: the model cannot be built, or the data are not those of the study any more.
    """
    lanes = lanes_here(study, workers)
    tasks = [task for _ in range(lanes) for task in _tasks(study, workers)]
    context = multiprocessing.get_context("spawn")
    with ExitStack() as processes:
        pipes = [processes.enter_context(_worker(context, task)) for task in tasks]
        return _answers(pipes, tell)


def lanes_here(study: "Study", workers: int) -> int:
    """How many of the study's lanes of so many workers this machine holds at once, at least one."""
    cores = len(os.sched_getaffinity(0))
    return max(1, min(study.placed.lanes, int(cores / study.spec.resources.cpus_per_worker) // workers))


def kinds(trials: Sequence[TrialSpec]) -> dict[tuple[str, str], TrialSpec]:
    """A trial of each optimizer and dtype: one of the middle global batch."""
    found: dict[tuple[str, str], list[TrialSpec]] = {}
    for trial in trials:
        found.setdefault((trial.optimizer, trial.dtype), []).append(trial)
    return {kind: sorted(same, key=lambda one: one.global_batch)[len(same) // 2] for kind, same in found.items()}


def _tasks(study: "Study", workers: int) -> list[Task]:
    trials = [trial for trial in study.trials if study.workers[trial.global_batch] == workers]
    found = tuple(kinds(trials).values())
    batches = _spread_out(sorted({trial.global_batch for trial in trials}))
    addresses = tuple(f"127.0.0.1:{port}" for port in _free_ports(workers if workers > 1 else 1))
    return [
        Task(
            data=study.spec.data,
            trials=found,
            batches=batches,
            micro_batches={batch: study.micro_batches[batch] for batch in {trial.global_batch for trial in trials}},
            threads=study.placed.threads_per_worker,
            rank=rank,
            addresses=addresses,
            seconds_a_batch=SECONDS_OF_UPDATES / len(found) / len(batches),
            started=time.time(),
        )
        for rank in range(workers)
    ]


def _spread_out(batches: Sequence[int]) -> tuple[int, ...]:
    """At most BATCHES_AT_MOST of them, the smallest and the largest among them."""
    picked = np.linspace(0, len(batches) - 1, min(len(batches), BATCHES_AT_MOST)).round().astype(int)
    return tuple(batches[number] for number in picked.tolist())


def _free_ports(count: int) -> list[int]:
    """Ports of the loopback that nobody listens on just now."""
    with ExitStack() as sockets:
        opened = [sockets.enter_context(socket.socket()) for _ in range(count)]
        for one in opened:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in opened]


@contextmanager
def _worker(context: "multiprocessing.context.SpawnContext", task: Task) -> "Iterator[Connection]":
    """A worker's process and the pipe of its answers; it ends with the block at the latest."""
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=run, args=(task, there), daemon=True)
    process.start()
    there.close()
    try:
        yield here
    finally:
        process.kill()
        process.join()
        here.close()


def _answers(pipes: Sequence[Connection], tell: Callable[[float], None]) -> list[Seen]:
    answers: dict[int, Seen] = {}
    progress = dict.fromkeys(range(len(pipes)), 0.0)
    numbers: Mapping[Connection, int] = {pipe: number for number, pipe in enumerate(pipes)}
    while len(answers) < len(pipes):
        waiting = [pipe for pipe in pipes if numbers[pipe] not in answers]
        ready = wait(waiting, timeout=SECONDS_OF_SILENCE)
        if not ready:
            raise CannotCalibrateError(f"no word from its workers for {SECONDS_OF_SILENCE:g} s")
        for pipe in ready:
            assert isinstance(pipe, Connection)
            _take(pipe, numbers[pipe], answers, progress)
        tell(min(progress.values()))
    return [answers[number] for number in range(len(pipes))]


def _take(pipe: Connection, number: int, answers: dict[int, Seen], progress: dict[int, float]) -> None:
    try:
        heard = pipe.recv()
    except EOFError:
        raise CannotCalibrateError("a worker's process was ended, as the kernel does where memory is short") from None
    if isinstance(heard, InputError):
        raise heard
    if isinstance(heard, str):
        raise CannotCalibrateError(heard)
    if isinstance(heard, Seen):
        answers[number] = heard
        progress[number] = 1.0
    else:
        progress[number] = heard
