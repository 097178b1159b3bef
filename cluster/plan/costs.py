"""What a worker's work costs: seconds as sums over micro-batches, bytes as a line; measured, or guessed by arithmetic.

An update has a fixed cost. Each of its micro-batches has a fixed cost, and further costs for each token of its longest
row (the loop of the recurrence, whatever the number of rows), for each place (what is also computed for padding) and
for each packed place (the recurrence). `low` and `high` are factors of the expected seconds.
"""

from dataclasses import dataclass, replace

from cluster.study.memory import MemoryModel
from trainer.order.cuts import Cuts
from trainer.trial import TrialSpec

# The guess takes a core at an eighth of what a matrix product reaches on it (157 GFLOP/s), because lanes share cores,
# and the cost of TensorFlow's and XLA's operations on one core of a Xeon with AVX-512 (2026-11).
GUESSED_FLOPS = 2e10
GUESSED_TOKEN_SECONDS, GUESSED_MICRO_BATCH_SECONDS, GUESSED_UPDATE_SECONDS = 6e-5, 3e-3, 4e-3
GUESSED_WEIGHT_SECONDS = 2e-8
GUESSED_TRACING_SECONDS, GUESSED_COMPILE_SECONDS, GUESSED_IMPORT_SECONDS = 6.0, 1.5, 5.0
GUESSED_SHAPE_BYTES = 5 * 2**20
GUESS_LOW, GUESS_HIGH = 0.4, 2.5
# The part of a core that Ray's own processes take while lanes train, and what they take in addition for each lane (two
# lanes on two virtual cores, 2026-11).
RAY_CORES, RAY_CORES_A_LANE = 0.09, 0.04


@dataclass(frozen=True, kw_only=True)
class Line:
    """Seconds of micro-batches: for each one, for each token of its longest row, for each place and packed place."""

    each: float
    token: float
    place: float
    packed: float

    def seconds(self, cuts: Cuts) -> float:
        """The sum over all micro-batches."""
        several = self.each * cuts.count + self.token * cuts.tokens
        return several + self.place * cuts.places + self.packed * cuts.packed

    def times(self, factor: float) -> "Line":
        """The same line with all seconds multiplied."""
        return Line(**{name: value * factor for name, value in vars(self).items()})


@dataclass(frozen=True, kw_only=True)
class Costs:
    """The costs of one kind of trial (workers, optimizer, dtype) on one kind of worker.

    `seconds_tracing` is for building, tracing and proving the trial once in a process, without compiling, which takes
    `seconds_compiling` for each shape to train in and `seconds_compiling_forward` for each shape to evaluate in.
    `memory` is with one shape compiled, and each further shape keeps `bytes_per_shape`. `idle` is the part of the
    measured seconds in which the machine worked for the trial and not for other work.
    """

    seconds_per_update: float
    training: Line
    evaluation: Line
    seconds_tracing: float
    seconds_compiling: float
    seconds_compiling_forward: float
    seconds_importing: float
    low: float
    high: float
    memory: MemoryModel
    bytes_per_shape: float
    idle: float
    measured: bool

    def update(self, cuts: Cuts) -> float:
        """Seconds of an update with these micro-batches."""
        return self.seconds_per_update + self.training.seconds(cuts)

    def times(self, factor: float) -> "Costs":
        """The same costs with the seconds of everything that a lane does multiplied."""
        return replace(
            self,
            seconds_per_update=self.seconds_per_update * factor,
            training=self.training.times(factor),
            evaluation=self.evaluation.times(factor),
            seconds_tracing=self.seconds_tracing * factor,
            seconds_compiling=self.seconds_compiling * factor,
            seconds_compiling_forward=self.seconds_compiling_forward * factor,
        )


def slowdown(*, lanes: int, cores_a_lane: float, cores: float) -> float:
    """How many times as long lanes take with Ray's processes: more than 1 if lanes leave these too few cores."""
    wanted = RAY_CORES + RAY_CORES_A_LANE * lanes
    return max(1.0, (lanes * cores_a_lane + wanted) / cores)


def guess(trial: TrialSpec, *, vocabulary_size: int, outputs: int, memory: MemoryModel, features_width: int) -> Costs:
    """Costs by arithmetic alone, right to a factor of two or so on a CPU and unreliable elsewhere."""
    model = trial.model
    directions = 2 if model.bidirectional else 1
    inputs = [features_width or model.embedding_units, *[directions * model.lstm_units] * (model.layers - 1)]
    weights = sum(directions * 4 * model.lstm_units * (size + model.lstm_units) for size in inputs)
    head = directions * model.lstm_units * outputs
    flops = 2 * (weights + (head if trial.task == "language_model" else 0)) * (2 if trial.dtype == "float64" else 1)
    loops = directions * model.layers
    everything = weights + head + (0 if features_width else vocabulary_size * model.embedding_units)

    def line(passes: int) -> Line:
        return Line(
            each=GUESSED_MICRO_BATCH_SECONDS * passes / 3,
            token=GUESSED_TOKEN_SECONDS * loops * passes / 3,
            place=0.0,
            packed=flops * passes / GUESSED_FLOPS,
        )

    return Costs(
        seconds_per_update=GUESSED_UPDATE_SECONDS + everything * GUESSED_WEIGHT_SECONDS,
        training=line(3),
        evaluation=line(1),
        seconds_tracing=GUESSED_TRACING_SECONDS * (1 + loops) / 2,
        seconds_compiling=GUESSED_COMPILE_SECONDS,
        seconds_compiling_forward=GUESSED_COMPILE_SECONDS / 2,
        seconds_importing=GUESSED_IMPORT_SECONDS,
        low=GUESS_LOW,
        high=GUESS_HIGH,
        memory=memory,
        bytes_per_shape=GUESSED_SHAPE_BYTES,
        idle=1.0,
        measured=False,
    )
