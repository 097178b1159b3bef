"""A probe's worker process: it measures the memory of a micro-batch, and the speed of updates and of evaluating.

It is a lane's worker without Ray Train: the same imports, threads, collective, learner and journey.
"""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

import numpy as np

from cluster.measure import points
from cluster.measure.body import Place
from trainer.order import evaluation

if TYPE_CHECKING:
    from trainer.data.rows import Rows
    from trainer.data.share import Share
    from trainer.journey import Journey
    from trainer.trial import TrialSpec

UPDATES_FOR_MEMORY = 3
# The longest rows are searched among this many; the shards that hold them are fetched and opened.
ROWS_LOOKED_AT = 200_000
EVALUATION_CHUNKS = 8


@dataclass(frozen=True, kw_only=True)
class LaneLayout:
    """The layout of a lane's workers here, and their data, which must have the hash `data_hash`.

    `limit_bytes` bounds each worker's memory.
    """

    data: str
    data_hash: str
    workers: int
    threads: int
    gpus_per_worker: float = 0.0
    limit_bytes: int | None = None

    def worker(self, place: Place) -> "ProbeWorker":
        """The worker at this place, in its process."""
        return ProbeWorker(self, place)


@dataclass(frozen=True, kw_only=True)
class MeasuredBatch:
    """A global batch in micro-batches, measured with the updates of one trial of that batch."""

    trial: "TrialSpec"
    micro_batch: int


@dataclass(frozen=True, kw_only=True)
class MeasuredMachine:
    """What a worker runs on."""

    device: str
    node_type: str
    kernel_path: str
    tensorflow_version: str


@dataclass(frozen=True, kw_only=True)
class Held:
    """The most bytes held so far, with rows padded to `length` tokens, and the `seconds` of the last pass over them."""

    length: int
    peak_bytes: int
    seconds: float
    machine: MeasuredMachine


@dataclass(frozen=True, kw_only=True)
class Warm:
    """A cell that is ready: the `seconds` of building, tracing and warming up, and of an update at the end."""

    seconds: float
    seconds_per_update: float
    machine: MeasuredMachine


@dataclass(frozen=True, kw_only=True)
class Block:
    """The seconds of some updates (or of some evaluated rows), and this worker's tokens in them.

    `processor_seconds` counts all threads of the worker.
    """

    seconds: float
    processor_seconds: float
    rows: int
    real_tokens: int
    padded_tokens: int


class ProbeWorker:
    """A worker process's TensorFlow, data and learners. All workers of a lane get the same questions in one order."""

    def __init__(self, layout: LaneLayout, place: Place) -> None:
        gpus = choose_gpus(layout.gpus_per_worker, place.lane * layout.workers + place.rank)
        import tensorflow as tf

        # Ray and everything else that a lane's worker holds.
        import cluster.lanes.worker  # noqa: F401
        from cluster.stores import store_of
        from trainer.data.splits import open_data
        from trainer.machine import device, memory
        from trainer.order.world import World
        from trainer.update.collective import Collective

        device.set_up(threads=layout.threads, gpus=gpus, memory_bytes=layout.limit_bytes)
        self._folder = place.folder
        self._collective = Collective(World(place.rank, layout.workers))
        self._manifest, self._data = open_data(store_of(layout.data), layout.data_hash)
        self._learners: dict[Any, Any] = {}
        self._journeys: dict[MeasuredBatch, Journey] = {}
        if layout.limit_bytes and not tf.config.get_visible_devices("GPU"):
            memory.limit_memory(layout.limit_bytes)

    def hold(self, trial: "TrialSpec", micro_batch: int) -> Held:
        """Update a few times with the longest rows, one micro-batch of them for each worker, and save once."""
        from trainer.data.share import MicroBatch, Share, read_arrays

        journey = self._journey(MeasuredBatch(trial=trial, micro_batch=micro_batch))
        tokens, labels = read_arrays(trial.task, self._data.train, _longest(self._data.train, micro_batch))
        # A running trial holds these too.
        journey.best_weights = journey.learner.weights()
        rows = MicroBatch(tokens=tokens, labels=labels, positions=np.arange(micro_batch, dtype=np.int64))
        for _ in range(UPDATES_FOR_MEMORY):
            started = time.perf_counter()
            # Two, as in a share: what the first one leaves behind is held while the second one goes through.
            journey.update(Share([rows, rows], tokens.size, tokens.size), None)
        seconds = time.perf_counter() - started
        journey.save()
        return self._held(journey.learner, int(tokens.shape[1]), seconds)

    def hold_evaluating(self, trial: "TrialSpec") -> Held:
        """Evaluate as many of the longest rows as may go through the model at once."""
        from trainer.data.share import read_arrays

        learner = self._learner(trial)
        rows = _longest(self._data.train, evaluation.rows_at_once(trial.task))
        tokens, labels = read_arrays(trial.task, self._data.train, rows)
        for _ in range(UPDATES_FOR_MEMORY):
            started = time.perf_counter()
            losses, _, _ = learner.evaluate(tokens, labels)
            losses.numpy()
        return self._held(learner, int(tokens.shape[1]), time.perf_counter() - started)

    def warm(self, cell: MeasuredBatch, updates: int, warm_up: int) -> Warm:
        """Compute the cell's first `updates` updates once without changing anything, then make `warm_up` updates.

        What is compiled depends on the lengths of the rows, so every micro-batch of a block goes through beforehand.
        """
        started = time.perf_counter()
        journey = self._journey(cell)
        shares = list(self._shares(cell, updates))
        for micro_batch in (one for share in shares for one in share.micro_batches):
            journey.learner.add(micro_batch)
        journey.learner.gradient(global_batch=cell.trial.global_batch)
        for share in islice(cycle(shares), warm_up):
            last_started = time.perf_counter()
            journey.update(share, None)
        ended = time.perf_counter()
        machine = self._machine(journey.learner)
        return Warm(seconds=ended - started, seconds_per_update=ended - last_started, machine=machine)

    def block(self, cell: MeasuredBatch, updates: int, with_reading: bool) -> Block:
        """Make the cell's first `updates` updates again, with or without reading their rows meanwhile."""
        from trainer.data.rows import read_ahead

        journey = self._journey(cell)
        shares = self._shares(cell, updates)
        pipeline: Any = shares if with_reading else list(shares)
        real = padded = 0
        started, processor_started = time.perf_counter(), time.process_time()
        for share in read_ahead(pipeline) if with_reading else pipeline:
            journey.update(share, None)
            real, padded = real + share.real_tokens, padded + share.padded_tokens
        return Block(
            seconds=time.perf_counter() - started,
            processor_seconds=time.process_time() - processor_started,
            rows=updates * cell.trial.global_batch,
            real_tokens=real,
            padded_tokens=padded,
        )

    def evaluation(self, trial: "TrialSpec") -> Block:
        """Evaluate some validation rows as `trainer.evaluate` does, after evaluating all of them once."""
        from trainer.data.share import read_arrays

        learner, rows = self._learner(trial), self._data.validation
        world = self._collective.world
        chunks = evaluation.chunks(rows.lengths, len(rows), task=trial.task)
        some = list(islice(chunks, world.rank, EVALUATION_CHUNKS * world.workers, world.workers))
        arrays = [read_arrays(trial.task, rows, chunk) for chunk in some]
        for tokens, labels in arrays:
            learner.evaluate(tokens, labels)
        sums, started, processor_started = np.zeros(3), time.perf_counter(), time.process_time()
        for chunk in some:
            sums += learner.evaluate(*read_arrays(trial.task, rows, chunk))
        return Block(
            seconds=time.perf_counter() - started,
            processor_seconds=time.process_time() - processor_started,
            rows=sum(map(len, some)),
            real_tokens=int(sum(rows.lengths(chunk).sum() for chunk in some)),
            padded_tokens=sum(int(np.prod(tokens.shape[:2])) for tokens, _ in arrays),
        )

    def _shares(self, cell: MeasuredBatch, updates: int) -> "Iterator[Share]":
        from trainer.data.share import shares_of

        shares = shares_of(cell.trial, self._data.train, self._collective.world, cell.micro_batch, 0)
        # Updates whose noise is measured are few, and are cut differently.
        return islice((share for share in shares if not share.measured), updates)

    def _journey(self, cell: MeasuredBatch) -> "Journey":
        from trainer.checkpoint import Checkpoints
        from trainer.data.store import Folder
        from trainer.journey import Journey

        if cell not in self._journeys:
            folder = Folder(f"{self._folder}/{len(self._journeys)}")
            self._journeys[cell] = Journey(
                cell.trial,
                self._learner(cell.trial),
                self._data,
                Checkpoints(folder, cell.trial.trial_id),
                lambda _: None,
            )
        return self._journeys[cell]

    def _learner(self, trial: "TrialSpec") -> Any:
        from trainer.update.shape import Shape
        from trainer.update.update import Learner

        shape = Shape.of(trial, self._manifest)
        if shape not in self._learners:
            self._learners[shape] = Learner(shape, self._collective)
            self._learners[shape].start(trial)
        return self._learners[shape]

    def _held(self, learner: Any, length: int, seconds: float) -> Held:
        from trainer.machine import memory

        return Held(length=length, peak_bytes=memory.peak_bytes(), seconds=seconds, machine=self._machine(learner))

    def _machine(self, learner: Any) -> MeasuredMachine:
        import tensorflow as tf

        from cluster.prices import this_instance
        from trainer.model.lstm import kernel_paths

        return MeasuredMachine(
            device="gpu" if tf.config.list_logical_devices("GPU") else "cpu",
            node_type=this_instance().instance_type,
            kernel_path=kernel_paths(learner.model),
            tensorflow_version=tf.__version__,
        )


def _longest(rows: "Rows", count: int) -> Any:
    """The indices of the `count` longest of the first ROWS_LOOKED_AT rows, which repeat if there are fewer."""
    lengths = rows.lengths(np.arange(min(len(rows), ROWS_LOOKED_AT)))
    return points.longest(lengths, count)


def choose_gpus(each: float, place: int) -> int:
    """Let the worker at this place among those of all lanes see only its `each` GPUs, or part of one, as Ray does.

    Returns how many these are.
    """
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    first, count = (int(place * each), int(each)) if each >= 1 or not each else (place // int(1 / each), 1)
    known = given.split(",") if given else [str(number) for number in range(first + count)]
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(known[first : first + count])
    return count
