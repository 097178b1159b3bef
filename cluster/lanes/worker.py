"""What a lane's worker process does: takes trial after trial from the board and trains each with `trainer.loop`."""

import os
import resource
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ray
import ray.train

from cluster.lanes.board import Job
from trainer.report import State
from trainer.trial import TrialSpec

if TYPE_CHECKING:
    from trainer.journey import Data
    from trainer.manifest import Manifest
    from trainer.update import Shape

# Axes of dtype or optimiser alternate between a few shapes; each learner kept is a model's memory.
LEARNERS_KEPT = 4
SECONDS_BETWEEN_WISHES = 0.5


@dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    """What all jobs of a lane have in common."""

    board: Any
    lane: str
    data: str
    threads: int
    checkpoint_every_seconds: float


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What an attempt ran on, and the most memory its rank 0's process has held so far."""

    device: str
    kernel_path: str
    tensorflow_version: str
    peak_memory_bytes: int


@dataclass(frozen=True, kw_only=True)
class Failure:
    """The last word of an attempt that ended in an exception."""

    state: State
    error: str


def work(config: dict[str, WorkerSettings]) -> None:
    """Train the lane's jobs until there are none; runs on every worker under Ray Train."""
    settings = config["settings"]
    context = ray.train.get_context()
    trainer = _Trainer(settings, rank=context.get_world_rank(), workers=context.get_world_size())
    serial = 0
    while (taken := ray.get(settings.board.take.remote(settings.lane, trainer.rank, serial))) is not None:
        job, taking = taken
        serial = job.serial
        tell = _teller(settings, taking, trainer.rank)
        try:
            outcome = trainer.train(job, tell)
        except BaseException as problem:
            tell(failure_of(problem), last=True)
            # The other workers may wait in an all-reduce: Train starts the whole group anew.
            raise
        tell((outcome, trainer.machine()), last=True)


def failure_of(problem: BaseException) -> Failure:
    """The state and the one-line error of an attempt that ended in `problem`."""
    import tensorflow as tf

    text = f"{type(problem).__name__}: {problem}".split("\n", 1)[0][:500]
    # A cuDNN LSTM out of memory can say only that its kernel could not be run.
    if isinstance(problem, tf.errors.ResourceExhaustedError | MemoryError) or "ThenRnnForward" in text:
        return Failure(state=State.OUT_OF_MEMORY, error=text)
    sys.stderr.write("".join(traceback.format_exception(problem)))
    return Failure(state=State.FAILED, error=text)


def _teller(settings: WorkerSettings, taking: int, rank: int) -> Callable[..., None]:
    """A function that tells the board an event, on rank 0 only; the last one is waited for."""

    def tell(event: Any, *, last: bool = False) -> None:
        if rank == 0:
            told = settings.board.tell.remote(settings.lane, taking, event, last=last)
            if last:
                ray.get(told)

    return tell


def open_data(folder: str) -> tuple["Manifest", "Data"]:
    """The manifest and the open splits of a prepared data set."""
    from trainer.journey import Data
    from trainer.manifest import SPLITS, read
    from trainer.rows import open_rows

    manifest = read(folder)
    return manifest, Data(*(open_rows(folder, manifest.splits[name]) for name in SPLITS))


def shape_of(trial: TrialSpec, manifest: "Manifest") -> "Shape":
    """What the learner of a trial on this data set is traced for."""
    from trainer.update import Shape

    return Shape(
        model=trial.model,
        vocabulary_size=manifest.vocabulary_size,
        outputs=max(1, len(manifest.label_names)),
        task=trial.task,
        optimizer=trial.optimizer,
        dtype=trial.dtype,
    )


class _Trainer:
    """A worker's TensorFlow: the collective, the open data, and the learners traced so far."""

    def __init__(self, settings: WorkerSettings, *, rank: int, workers: int) -> None:
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
        import tensorflow as tf

        from trainer.collective import Collective, World

        tf.config.threading.set_intra_op_parallelism_threads(settings.threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        for gpu in tf.config.list_physical_devices("GPU"):
            # Lanes may share a GPU: take memory as it is needed.
            tf.config.experimental.set_memory_growth(gpu, True)
        self.settings, self.rank = settings, rank
        self._collective = Collective(World(rank, workers))
        self._manifest, self._data = open_data(settings.data)
        self._learners: dict[Any, Any] = {}

    def train(self, job: Job, publish: Callable[[Any], None]) -> Any:
        """The outcome of the job's trial."""
        from trainer.checkpoint import Checkpoints
        from trainer.loop import train

        with self._wishes() as stop_requested:
            return train(
                job.trial,
                learner=self._learner(job),
                data=self._data,
                micro_batch=job.micro_batch,
                checkpoints=Checkpoints(job.checkpoints),
                checkpoint_every_seconds=self.settings.checkpoint_every_seconds,
                publish=publish,
                stop_requested=stop_requested,
            )

    def machine(self) -> Machine:
        """What this worker runs on."""
        import tensorflow as tf

        device = "gpu" if tf.config.list_logical_devices("GPU") else "cpu"
        return Machine(
            device=device,
            kernel_path="cudnn" if device == "gpu" else "keras",
            tensorflow_version=tf.__version__,
            peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        )

    def _learner(self, job: Job) -> Any:
        """The learner for the job's shape, traced before if a trial like it was trained here."""
        from trainer.update import Learner

        shape = shape_of(job.trial, self._manifest)
        learner = self._learners.pop(shape, None) or Learner(shape, self._collective)
        self._learners[shape] = learner
        while len(self._learners) > LEARNERS_KEPT:
            del self._learners[next(iter(self._learners))]
        return learner

    @contextmanager
    def _wishes(self) -> Iterator[Callable[[], State | None]]:
        """A function that tells what rank 0 last heard the board wish, asked again and again by a thread."""
        heard: list[State | None] = [None]
        over = threading.Event()

        def listen() -> None:
            while not over.wait(SECONDS_BETWEEN_WISHES):
                heard[0] = ray.get(self.settings.board.wish.remote(self.settings.lane))

        if self.rank == 0:
            threading.Thread(target=listen, daemon=True).start()
        try:
            yield lambda: heard[0]
        finally:
            over.set()
