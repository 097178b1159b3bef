"""A lane's worker process: it takes trial after trial from the board and trains each with `trainer.loop`."""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import ray
import ray.train

from cluster.lanes.board import Assignment
from cluster.lanes.failure import NotTheSameUpdateError, failure_of
from cluster.lanes.learners import Learners
from cluster.lanes.reports import Beat, Ended, LaneMachine, WorkerReport
from cluster.lanes.station import this_station
from cluster.process.worker_logs import mark
from cluster.stores import store_of
from trainer.data.splits import open_data
from trainer.order.layouts import ROWS_AT_MOST
from trainer.report import State
from trainer.trial import TrialSpec
from trainer.update.shape import Shape

if TYPE_CHECKING:
    from trainer.check import Proof
    from trainer.checkpoint import Progress
    from trainer.update.update import Learner

SECONDS_BETWEEN_BEATS = 0.5


@dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    """What all assignments of a group have in common."""

    board: Any
    group: str
    data: str
    threads: int
    memory_bytes: int | None
    gpus: float
    checkpoint_every_seconds: float


def work(config: dict[str, WorkerSettings]) -> None:
    """Train the group's assignments until there are none; runs on every worker under Ray Train."""
    settings = config["settings"]
    context = ray.train.get_context()
    rank, workers, station, serial = context.get_world_rank(), context.get_world_size(), this_station(), 0
    tell = _teller(settings, rank)
    trainer: _Trainer | None = None
    while (assignment := ray.get(settings.board.take.remote(settings.group, rank, serial, station))) is not None:
        serial = assignment.serial
        sys.stderr.write(mark(assignment.trial.trial_id))
        sys.stderr.flush()
        try:
            trainer = trainer or _Trainer(settings, data_hash=assignment.trial.data_hash, rank=rank, workers=workers)
            outcome = trainer.train(assignment, tell)
        except BaseException as problem:
            if (failure := failure_of(problem, workers=workers)) is not None:
                failure = replace(failure, smaller_helps=trainer is not None)
                # The rank that failed reports, whichever it is: the others only see that a peer went away.
                ray.get(settings.board.tell.remote(settings.group, failure, last=True))
            # The other workers may be waiting in an all-reduce: the whole group ends, and the lane starts another.
            raise
        tell(Ended(outcome, trainer.machine(assignment.trial)), last=True)


def _teller(settings: WorkerSettings, rank: int) -> Callable[..., None]:
    """A function that sends a report to the board, on rank 0 only; it waits until the last report has arrived."""

    def tell(report: WorkerReport, *, last: bool = False) -> None:
        if rank == 0:
            sent = settings.board.tell.remote(settings.group, report, last=last)
            if last:
                ray.get(sent)

    return tell


class _Trainer:
    """A worker's TensorFlow: the collective, the open data, and the learners traced so far."""

    def __init__(self, settings: WorkerSettings, *, data_hash: str, rank: int, workers: int) -> None:
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
        # cuBLAS adds in a fixed order only with workspaces of its own (its guide, "Results Reproducibility").
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        from trainer.machine import compiled

        self._compiled = None if settings.gpus else compiled.use(settings.threads)
        import tensorflow as tf

        from trainer.machine import device, memory
        from trainer.machine.card import limit_on_part
        from trainer.order.world import World
        from trainer.update.collective import Collective

        shared = 0 < settings.gpus < 1
        limit_bytes = limit_on_part(settings.gpus, settings.memory_bytes) if shared else settings.memory_bytes
        device.set_up(threads=settings.threads, gpus=len(ray.get_gpu_ids()), memory_bytes=limit_bytes)
        self.settings, self.rank = settings, rank
        self._collective = Collective(World(rank, workers))
        self._manifest, self._data = open_data(store_of(settings.data), data_hash)
        self._learners = Learners(self._new_learner)
        self._proofs: dict[Any, Proof] = {}
        if settings.memory_bytes and not tf.config.get_visible_devices("GPU"):
            memory.limit_memory(settings.memory_bytes)

    def train(self, assignment: Assignment, publish: Callable[[Any], None]) -> Any:
        """Train the assignment's trial and return its outcome."""
        from trainer.checkpoint import Checkpoints
        from trainer.loop import train
        from trainer.machine import compiled

        learner = self._learners.of(Shape.of(assignment.trial, self._manifest))
        with self._heart(assignment.serial, learner) as heartbeat:
            self._prove(assignment, learner)
            outcome = train(
                assignment.trial,
                learner=learner,
                data=self._data,
                micro_batch=assignment.micro_batch,
                checkpoints=Checkpoints(store_of(assignment.checkpoints), assignment.trial.trial_id),
                checkpoint_every_seconds=self.settings.checkpoint_every_seconds,
                publish=publish,
                heartbeat=heartbeat,
                evaluation_rows=assignment.rows_at_once.evaluation,
            )
        if self._compiled is not None:
            compiled.seal(self._compiled)
        return outcome

    def machine(self, trial: TrialSpec) -> LaneMachine:
        """What this worker runs on, and the result of the check for trials like this one."""
        import tensorflow as tf

        from trainer.machine import memory
        from trainer.machine.card import card_in_use
        from trainer.model.lstm import kernel_paths

        shape, cards = Shape.of(trial, self._manifest), tf.config.list_logical_devices("GPU")
        return LaneMachine(
            device="gpu" if cards else "cpu",
            kernel_path=kernel_paths(self._learners.of(shape).model),
            tensorflow_version=tf.__version__,
            peak_memory_bytes=memory.peak_bytes(),
            gradient_check=self._proofs[shape].largest,
            repeats=int(self._proofs[shape].repeats),
            tf32=int(bool(cards) and tf.config.experimental.tensor_float_32_execution_enabled()),
            **asdict(card_in_use()),
        )

    def _prove(self, assignment: Assignment, learner: Any) -> None:
        """Check the layout for the first trial of each shape, before it is trained.

        Raises:
            NotTheSameUpdateError: the layout changes the numbers.
        """
        from trainer.check import prove

        shape = Shape.of(assignment.trial, self._manifest)
        if shape not in self._proofs:
            self._proofs[shape] = prove(
                assignment.trial,
                learner,
                self._data,
                micro_batch=assignment.micro_batch,
                rows_at_most=min(ROWS_AT_MOST, assignment.rows_at_once.evaluation),
            )
        if not self._proofs[shape].passed:
            raise NotTheSameUpdateError(self._proofs[shape])

    def _new_learner(self, shape: Shape) -> "Learner":
        from trainer.update.update import Learner

        return Learner(shape, self._collective)

    @contextmanager
    def _heart(self, serial: int, learner: "Learner") -> Iterator[Callable[["Progress"], State | None]]:
        """A function that takes the trial's progress and returns the state that the board last asked rank 0 for.

        A thread exchanges both with the board, so that no update waits for it.
        """
        asked: list[State | None] = [None]
        newest: list[Beat | None] = [None]
        over = threading.Event()

        def sent(beat: Beat | None) -> Any:
            return self.settings.board.beat.remote(self.settings.group, serial, beat, learner.steps)

        def beat_on() -> None:
            while not over.wait(SECONDS_BETWEEN_BEATS):
                asked[0] = ray.get(sent(newest[0]))

        def heartbeat(progress: "Progress") -> State | None:
            first = newest[0] is None
            newest[0] = Beat(update=progress.update, seconds_training=progress.seconds_training)
            if first and self.rank == 0:
                # Where the attempt begins is sent at once: its workers may be lost before the next beat.
                sent(newest[0])
            return asked[0]

        if self.rank == 0:
            threading.Thread(target=beat_on, daemon=True).start()
        try:
            yield heartbeat
        finally:
            over.set()
