"""A worker of a calibration: the learner of the real layout, timed on real rows in a throwaway process.

Reading, computing and summing over workers use the same functions as `trainer.loop`. Nothing is written.
"""

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cluster.measure import points
from cluster.measure.body import Place
from cluster.measure.probe_worker import choose_gpus
from cluster.measure.seen import Kind, Seen, Timed, TimedOnce
from cluster.stores import store_of
from trainer.order import cuts, evaluation, measuring
from trainer.order.shapes import CompiledShape, Ints
from trainer.trial import TrialSpec

if TYPE_CHECKING:
    from trainer.data.manifest import Manifest
    from trainer.data.share import MicroBatch
    from trainer.data.splits import Data
    from trainer.update.update import Learner

# The most rows of a split that are looked at: some shards of a large data set, not all of it.
SAMPLE_ROWS = 100_000
# An update of more rows is cut short, because its cost is a sum over its micro-batches.
ROWS_AT_MOST = 1024
SECONDS_EVALUATING = 3.0
MANY, LARGE = 4, 128
# The hundredth update would also measure the gradient noise.
UPDATES_AT_MOST = measuring.EVERY - 2


@dataclass(frozen=True, kw_only=True)
class Task:
    """What the workers of a lane measure. `trials` has one of each kind, `batches` are the global batches to time.

    `micro_batches` are those of all global batches of the study; `started` is the Unix time at which the processes were
    started. Of a card a worker takes `limit_bytes`; on CPUs nothing limits it.
    """

    data: str
    trials: tuple[TrialSpec, ...]
    batches: tuple[int, ...]
    micro_batches: dict[int, int]
    threads: int
    workers: int
    gpus_per_worker: float
    limit_bytes: int | None
    seconds_a_batch: float
    started: float

    def worker(self, place: Place) -> "CalibrationWorker":
        """The worker at this place, in its process."""
        return CalibrationWorker(self, place)


class CalibrationWorker:
    """A worker process's TensorFlow and the first rows of the data."""

    def __init__(self, task: Task, place: Place) -> None:
        gpus = choose_gpus(task.gpus_per_worker, place.lane * task.workers + place.rank)
        from trainer.data.splits import open_data
        from trainer.machine import device
        from trainer.order.world import World
        from trainer.update.collective import Collective

        device.set_up(threads=task.threads, gpus=gpus, memory_bytes=task.limit_bytes)
        self._task, self._collective = task, Collective(World(place.rank, task.workers))
        self._seconds_importing = time.time() - task.started
        self._manifest, self._data = open_data(store_of(task.data), task.trials[0].data_hash, first_rows=SAMPLE_ROWS)
        self._lengths = {name: rows.lengths(np.arange(len(rows))) for name, rows in vars(self._data).items()}

    def see(self) -> Generator[float, None, Seen]:
        """Measure all kinds of trials; yields the part of the work that is done, and returns what was seen."""
        task = self._task
        began, cores = time.monotonic(), time.process_time()
        # A shape that one kind has compiled is compiled for all kinds of that dtype.
        met = {trial.dtype: _Met() for trial in task.trials}
        kinds: list[Kind] = []
        parts, done = len(task.trials) * (3 + len(task.batches)), 0
        for trial in task.trials:
            steps = _kind(task, trial, self._manifest, self._data, self._lengths, self._collective, met[trial.dtype])
            for step in steps:
                if isinstance(step, Kind):
                    kinds.append(step)
                done += 1
                yield done / parts
        return Seen(
            seconds_importing=self._seconds_importing,
            seconds=time.monotonic() - began,
            seconds_of_cores=time.process_time() - cores,
            kinds=kinds,
            lengths=self._lengths,
        )


@dataclass
class _Met:
    """The shapes that a process has compiled for a dtype, separately for training and for evaluating."""

    training: set[CompiledShape] = field(default_factory=set)
    evaluation: set[CompiledShape] = field(default_factory=set)

    def first(self, seconds: float, training: cuts.Cuts, evaluation: cuts.Cuts) -> TimedOnce:
        """Something done once, with the number of its new shapes, which count as met from now on."""
        new, forward = training.shapes - self.training, evaluation.shapes - self.evaluation
        self.training |= new
        self.evaluation |= forward
        return TimedOnce(seconds=seconds, new_shapes=len(new), new_forward_shapes=len(forward))


def _kind(
    task: Task,
    trial: TrialSpec,
    manifest: "Manifest",
    data: "Data",
    lengths: dict[str, Ints],
    collective: Any,
    met: _Met,
) -> Iterator[Kind | None]:
    """Measures a kind of trials step by step; the last step yields what was seen."""
    # The memory of Ray's modules is a part of a lane's worker.
    import cluster.lanes.worker  # noqa: F401
    from trainer.check import prove
    from trainer.machine.memory import peak_bytes
    from trainer.update.shape import Shape
    from trainer.update.update import Learner

    started, most = time.monotonic(), max(task.micro_batches.values())
    learner = Learner(Shape.of(trial, manifest), collective)
    # A large micro-batch is compared with a fourth of it, because four times as much may not fit into memory.
    rows, many_rows = (most, most * MANY) if most <= LARGE else (most // MANY, most)
    longest = _longest(trial, data, lengths["train"], rows)
    _trace(learner, trial, longest)
    cut = cuts.of_chunks([_lengths(longest)], strands=task.threads)
    traced = met.first(time.monotonic() - started, cut, cut)
    yield None
    traced_bytes = peak_bytes()
    evaluations = _evaluations(task, learner, data, met.evaluation)
    evaluated_bytes = peak_bytes()
    yield None
    updates: list[Timed] = []
    for batch in task.batches:
        sized = replace(trial, global_batch=min(batch, ROWS_AT_MOST, len(data.train)))
        updates += _updates(task, learner, sized, data, task.micro_batches[batch], met.training)
        yield None
    trained_bytes = peak_bytes()
    many = _longest(trial, data, lengths["train"], many_rows)
    learner.add(many)
    many_bytes = peak_bytes()
    met.training |= cuts.of_chunks([_lengths(many)], strands=task.threads).shapes
    started, rows_proved = time.monotonic(), task.micro_batches[trial.global_batch]
    prove(trial, learner, data, micro_batch=rows_proved)
    proof = cuts.of_proof(trial, lengths["train"], lengths["validation"], micro_batch=rows_proved, strands=task.threads)
    proved = met.first(time.monotonic() - started, *proof)
    yield Kind(
        trial=trial,
        traced=traced,
        updates=updates,
        evaluations=evaluations,
        rows=rows,
        many_rows=many_rows,
        length=int(longest.tokens.shape[1]),
        traced_bytes=traced_bytes,
        evaluated_bytes=evaluated_bytes,
        trained_bytes=trained_bytes,
        many_bytes=many_bytes,
        proved=proved,
        proof_training=proof[0],
        proof_evaluation=proof[1],
    )


def _longest(trial: TrialSpec, data: "Data", lengths: Ints, rows: int) -> "MicroBatch":
    """A micro-batch of the `rows` longest rows, which repeat if there are fewer."""
    import tensorflow as tf

    from trainer.data.share import MicroBatch, read_arrays

    numbers = points.longest(lengths, rows)
    tokens, labels = map(tf.constant, read_arrays(trial.task, data.train, numbers))
    return MicroBatch(tokens=tokens, labels=labels, positions=tf.range(rows, dtype=tf.int64))


def _trace(learner: "Learner", trial: TrialSpec, longest: "MicroBatch") -> None:
    """Trace everything that a lane traces before its first trial of a kind."""
    learner.start(trial)
    learner.add(longest)
    learner.add_measured(longest)
    learner.update(global_batch=len(longest.labels), extras=(0.0,))
    learner.evaluate(longest.tokens, longest.labels)


def _updates(
    task: Task, learner: "Learner", trial: TrialSpec, data: "Data", micro_batch: int, met: set[CompiledShape]
) -> list[Timed]:
    """Updates until those without new shapes took about `seconds_a_batch`; all workers stop after the same one."""
    from trainer.data.rows import read_ahead
    from trainer.data.share import shares_of

    learner.start(trial)
    found: list[Timed] = []
    steady, began, before = 0.0, time.monotonic(), time.monotonic()
    for share in read_ahead(shares_of(trial, data.train, learner.collective.world, micro_batch, 0)):
        waited = time.monotonic() - began >= MANY * task.seconds_a_batch
        enough = waited or steady >= task.seconds_a_batch or len(found) >= UPDATES_AT_MOST
        for one in share.micro_batches:
            learner.add(one)
        updated = learner.update(
            global_batch=trial.global_batch, extras=(float(enough and learner.collective.world.rank == 0),)
        )
        now = time.monotonic()
        found.append(_timed(task, [_lengths(one) for one in share.micro_batches], met, now - before))
        steady += 0 if found[-1].new_shapes else now - before
        # Work on its result here must not count as part of the next update.
        before = time.monotonic()
        if updated.extras[0] or not updated.finite:
            break
    return found


def _evaluations(task: Task, learner: "Learner", data: "Data", met: set[CompiledShape]) -> list[Timed]:
    """Chunks of the validation split, the longest first, each timed twice because the first time may compile."""
    from trainer.data.share import read_arrays

    kind, rows = learner.shape.task, data.validation
    chunks = evaluation.chunks(rows.lengths, len(rows), task=kind)
    every = sorted(chunks, key=lambda chunk: -int(rows.lengths(chunk).max()))
    order = np.random.default_rng(0).permutation(len(every) - 1) + 1
    found: list[Timed] = []
    began = time.monotonic()
    for chunk in (every[number] for number in (0, *order.tolist())):
        for _ in range(2):
            before = time.monotonic()
            tokens, labels = read_arrays(kind, rows, chunk)
            learner.evaluate(tokens, labels)
            found.append(_timed(task, [rows.lengths(chunk)], met, time.monotonic() - before))
        if time.monotonic() - began > SECONDS_EVALUATING:
            break
    return found


def _lengths(micro_batch: "MicroBatch") -> Ints:
    """The tokens of each row, or the padded length if rows are numbers."""
    tokens = micro_batch.tokens.numpy()
    if tokens.ndim == 2 and tokens.dtype.kind == "i":
        lengths: Ints = np.count_nonzero(tokens, axis=1)
        return lengths
    return np.full(len(tokens), tokens.shape[1], np.int64)


def _timed(task: Task, chunks: Sequence[Ints], met: set[CompiledShape], seconds: float) -> Timed:
    """A timed update or chunk; its shapes that were not in `met` are added."""
    cut = cuts.of_chunks(chunks, strands=task.threads)
    new = cut.shapes - met
    met |= new
    return Timed(cuts=cut, new_shapes=len(new), seconds=seconds)
