"""A study's trials on its lanes, simulated: each trial's work and seconds, and when the last lane is done. Pure.

A free lane takes the next trial, as under Tune, and each lane traces and compiles for itself whatever it meets first.
The three outlooks differ in the costs (`Costs.low`, `.high`) and in what a protocol may leave out or add.
"""

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from cluster.plan import work
from cluster.plan.costs import Costs
from cluster.plan.phases import AGAIN, EXTENSION, LOOK, Phase
from trainer.order import cuts, plan
from trainer.order.layouts import ROWS_AT_MOST
from trainer.order.shapes import CompiledShape, Ints, padded
from trainer.trial import TrialSpec

# The time besides the trials: from the command's start until the workers of the lanes begin to import TensorFlow, and
# from the last trial's end to the command's. Both are multiples of a worker's TensorFlow import, since they too consist
# of starting processes and importing Python (two lanes on two virtual cores: 11 s and 3.8 s where the import took
# 2.9 s, on another day 15 s and 4.3 s where it took 2.7 s).
IMPORTS_BEFORE, IMPORTS_AFTER = 4.8, 1.5
# A lane whose next trial has another number of workers ends its processes, starts new ones, and imports again.
IMPORTS_REGROUP = 2.5
# A lane's time between two trials, besides their work: 0.18 s with one worker, 0.24 s with two
# (tests/benchmarks/lane_turnaround.py).
SECONDS_BETWEEN_TRIALS = 0.2
# Ray's part of a worker's memory, besides its Python modules: what a running Train session holds.
RAY_BYTES = 25 * 2**20


@dataclass(frozen=True, kw_only=True)
class Point:
    """Trials that differ only in rate and seed, on which no cost depends: one trial's work, seconds and bytes.

    `seconds_training` and `seconds_evaluating` are those of one trial, without tracing and compiling once in a lane.
    `proof_shapes` are the shapes of the proof before the first trial of a kind, for training and for evaluating. If
    `timed`, the budget is in seconds, which a slower machine does not lengthen.
    """

    trial: TrialSpec
    workers: int
    micro_batch: int
    updates: int
    epochs: float
    evaluations: int
    seconds_training: float
    seconds_evaluating: float
    memory_bytes: float
    timed: bool
    costs: Costs = field(repr=False)
    proof_shapes: tuple[frozenset[CompiledShape], frozenset[CompiledShape]] = field(repr=False)
    training_shapes: frozenset[CompiledShape] = field(repr=False)
    evaluation_shapes: frozenset[CompiledShape] = field(repr=False)

    @property
    def seconds(self) -> float:
        """A trial's seconds on a lane that has already traced and compiled everything in it."""
        return self.seconds_training + self.seconds_evaluating + SECONDS_BETWEEN_TRIALS

    @property
    def seconds_low(self) -> float:
        """The lower end of `seconds`."""
        return self.seconds if self.timed else self.seconds * self.costs.low

    @property
    def seconds_high(self) -> float:
        """The upper end of `seconds`."""
        return self.seconds if self.timed else self.seconds * self.costs.high


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """A study from the command's start to its end, which takes `seconds`.

    These include `seconds_starting` before any trial and `seconds_ending` after the last. `lane_seconds` is the total
    of all `trials` on all lanes, including `seconds_compiling` for tracing and compiling.
    """

    seconds: float
    seconds_starting: float
    seconds_ending: float
    lane_seconds: float
    seconds_compiling: float
    trials: int


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """The tokens of each row of (some of) each split, and the full number of rows of the splits."""

    train: Ints
    validation: Ints
    test: Ints
    rows: Mapping[str, int]

    @property
    def longest(self) -> int:
        """The padded length of the longest row."""
        return padded(int(self.train.max()))


def point(
    trial: TrialSpec, lengths: Lengths, costs: Costs, *, workers: int, micro_batch: int, threads: int = 1
) -> Point:
    """What one trial takes."""
    rows = lengths.rows["train"]
    total = plan.total_updates(trial.budget, global_batch=trial.global_batch, rows=rows)
    layout = {"workers": workers, "micro_batch": micro_batch, "strands": threads}
    cut = cuts.of_updates(trial, lengths.train, total=total or 100, **layout)
    update = costs.update(cut)
    updates = total or max(1, round(trial.budget.amount / update))
    seconds_training = trial.budget.amount if total is None else updates * update
    evaluated = {
        name: cuts.of_evaluation(split, task=trial.task, workers=workers, strands=threads).times(
            lengths.rows[name] / len(split)
        )
        for name, split in (("validation", lengths.validation), ("test", lengths.test))
    }
    evaluations = work.evaluations(trial, updates=updates, rows=rows, seconds_training=seconds_training)
    seconds_evaluating = evaluations * costs.evaluation.seconds(evaluated["validation"])
    seconds_evaluating += costs.evaluation.seconds(evaluated["test"])
    seconds_evaluating *= work.passes_of_an_evaluation(trial)
    proved = cuts.of_proof(trial, lengths.train, lengths.validation, micro_batch=micro_batch, strands=threads)
    evaluation_shapes = evaluated["validation"].shapes | evaluated["test"].shapes
    shapes = len(cut.shapes | proved[0].shapes) + len(evaluation_shapes | proved[1].shapes)
    return Point(
        trial=trial,
        workers=workers,
        micro_batch=micro_batch,
        updates=updates,
        epochs=updates * trial.global_batch / rows,
        evaluations=evaluations,
        seconds_training=seconds_training,
        seconds_evaluating=seconds_evaluating,
        memory_bytes=_memory(trial, costs, micro_batch, lengths.longest, shapes),
        timed=total is None,
        costs=costs,
        proof_shapes=(proved[0].shapes, proved[1].shapes),
        training_shapes=cut.shapes,
        evaluation_shapes=evaluation_shapes,
    )


def _memory(trial: TrialSpec, costs: Costs, micro_batch: int, length: int, shapes: int) -> float:
    """The peak of a worker: in the proof before the first trial, whose rows go through the model whole, or after it."""
    rows = max(micro_batch, min(trial.global_batch, ROWS_AT_MOST))
    return costs.memory.bytes_at(micro_batch=rows, length=length) + costs.bytes_per_shape * max(0, shapes - 1)


@dataclass
class _Lane:
    """A simulated lane: what its workers have traced and compiled."""

    workers: int = 0
    kinds: set[tuple[str, str]] = field(default_factory=set)
    shapes: set[tuple[str, CompiledShape]] = field(default_factory=set)
    forward: set[tuple[str, CompiledShape]] = field(default_factory=set)

    def first_time(self, point: Point) -> float:
        """Seconds for what this lane meets for the first time in such a trial, and remembers."""
        trial, costs = point.trial, point.costs
        seconds = 0.0
        if self.workers not in (0, point.workers):
            # Another number of workers needs another group of processes.
            self.kinds, self.shapes, self.forward = set(), set(), set()
            seconds += IMPORTS_REGROUP * costs.seconds_importing
        self.workers = point.workers
        training = {(trial.dtype, shape) for shape in point.training_shapes}
        forward = {(trial.dtype, shape) for shape in point.evaluation_shapes}
        if (trial.optimizer, trial.dtype) not in self.kinds:
            self.kinds.add((trial.optimizer, trial.dtype))
            training |= {(trial.dtype, shape) for shape in point.proof_shapes[0]}
            forward |= {(trial.dtype, shape) for shape in point.proof_shapes[1]}
            seconds += costs.seconds_tracing
        seconds += costs.seconds_compiling * len(training - self.shapes)
        self.shapes |= training
        seconds += costs.seconds_compiling_forward * len(forward - self.forward)
        self.forward |= forward
        return seconds


def outlook(
    phases: Sequence[Phase],
    point_of: Callable[[TrialSpec], Point],
    *,
    lanes: int,
    factor: Callable[[Costs], float] = lambda costs: 1.0,
    part: Callable[[Phase], float] = lambda phase: 1.0,
) -> Outlook:
    """The study on `lanes`; `factor` scales the costs, and `part` the trials of a phase (0: the phase is left out)."""
    free = [(0.0, number) for number in range(lanes)]
    state = [_Lane() for _ in range(lanes)]
    lane_seconds = compiling = 0.0
    trials, importing = 0, 0.0
    for phase in phases:
        share = part(phase)
        if not share:
            continue
        begins = max(time for time, _ in free)
        free = [(begins, number) for _, number in free]
        for trial in phase.trials:
            one = point_of(trial)
            scale = factor(one.costs)
            time, number = heapq.heappop(free)
            first = state[number].first_time(one) * scale
            training = one.seconds_training * (1 if one.timed else scale)
            seconds = first + (training + one.seconds_evaluating * scale) * share + SECONDS_BETWEEN_TRIALS * scale
            heapq.heappush(free, (time + seconds, number))
            lane_seconds, compiling, trials = lane_seconds + seconds, compiling + first, trials + 1
            importing = max(importing, one.costs.seconds_importing * scale)
    starting = (1 + IMPORTS_BEFORE) * importing
    return Outlook(
        seconds=starting + max(time for time, _ in free) + IMPORTS_AFTER * importing,
        seconds_starting=starting,
        seconds_ending=IMPORTS_AFTER * importing,
        lane_seconds=lane_seconds,
        seconds_compiling=compiling,
        trials=trials,
    )


def without_extensions(phase: Phase, *, of_looks: float) -> float:
    """The part of a phase that is used if no best rate is at an edge and runs are not noisy.

    `of_looks` is the part of the looks after the first.
    """
    return {EXTENSION: 0.0, AGAIN: 0.0, LOOK: of_looks}.get(phase.name, 1.0)


def spread_of(histogram: Sequence[int], *, rows: int, tokens: int, longest: int, at_most: int = 20_000) -> Ints:
    """Lengths of at most `at_most` rows from a manifest's histogram, in no order; without one, all are the mean."""
    if not any(histogram):
        return np.full(min(rows, at_most), max(1, round(tokens / rows)), np.int64)
    share = min(1.0, at_most / sum(histogram))
    bins = [
        np.linspace(2**power, min(2 ** (power + 1) - 1, longest), max(1, round(count * share)))
        for power, count in enumerate(histogram)
        if count
    ]
    found: Ints = np.random.default_rng(0).permutation(np.concatenate(bins)).round().astype(np.int64)
    return found
