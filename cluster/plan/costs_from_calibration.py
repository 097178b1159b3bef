"""Costs from what a calibration saw: sums of non-negative parts, fitted to relative differences. Pure.

All workers of a calibration ran side by side, as a study's workers do, and what each of them saw counts equally. The
fit uses non-negative least squares (scipy.optimize.nnls), because a negative part would make some trial cost nothing.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

import numpy as np
from scipy.optimize import nnls

from cluster.measure.seen import Kind, Seen, Timed
from cluster.plan.costs import GUESSED_COMPILE_SECONDS, Costs, Line
from cluster.study.memory import MemoryModel

# The range of a measured figure is at least this: machines of one kind, or one machine at two times, differ by as
# much.
LEAST_SPREAD = 0.1
# The most that a process keeps of a shape that it compiled; what the first updates take besides comes only once (on a
# CPU with tensorflow 2.21: 43 MiB with one new shape, 37 to 60 MiB with three).
SHAPE_BYTES = 10 * 2**20
# The weight of a guess relative to one compiled shape.
HINT = 0.1


def costs(seen: Sequence[Seen], kind: int, guesses: Sequence[MemoryModel], *, together: bool) -> Costs:
    """The costs of kind number `kind`, which is the same for every worker; `guesses` are those of each kind's memory.

    If `together`, workers waited for each other, so what cores did for them shows nothing about other work.
    """
    kinds = [worker.kinds[kind] for worker in seen]
    # A process's peak is that of all its kinds so far, so it shows nothing about the other kinds.
    first = [worker.kinds[0] for worker in seen]
    updates = list(chain.from_iterable(one.updates for one in kinds))
    chunks = list(chain.from_iterable(one.evaluations for one in kinds))
    per_update, training = _fitted(updates, with_fixed=True)
    _, evaluation = _fitted(chunks, with_fixed=False)
    compiling, forward = _compiling(seen, kinds[0].trial.dtype)
    proof = training.seconds(kinds[0].proof_training) + evaluation.seconds(kinds[0].proof_evaluation)
    tracing = np.mean(
        [
            one.traced.seconds - compiling * one.traced.new_shapes - forward * one.traced.new_forward_shapes
            for one in kinds
        ]
    )
    alone = 1.0 if together else idle(seen)
    spread = max(LEAST_SPREAD, *(_spread(one.updates, per_update, training) for one in kinds))
    return Costs(
        seconds_per_update=per_update,
        training=training,
        evaluation=evaluation,
        seconds_tracing=max(0.0, float(tracing)) + proof,
        seconds_compiling=compiling,
        seconds_compiling_forward=forward,
        seconds_importing=float(np.mean([worker.seconds_importing for worker in seen])),
        low=min(alone, 1 / (1 + spread)),
        high=1 + spread,
        memory=_carried(memory(first, guesses[0]), guesses[0], guesses[kind]),
        bytes_per_shape=bytes_per_shape(first),
        idle=alone,
        measured=True,
    )


def idle(seen: Sequence[Seen]) -> float:
    """The part of the time in which cores worked for a worker; the rest went to other work."""
    return min(1.0, sum(one.seconds_of_cores for one in seen) / sum(one.seconds for one in seen))


def memory(kinds: Sequence[Kind], guessed: MemoryModel) -> MemoryModel:
    """The line through the peaks of the worker that took the most memory, with one shape compiled."""
    most = max(kinds, key=lambda kind: kind.many_bytes)
    # Memory below an earlier peak leaves no trace: the many rows took at least what they added to the last peak, and at
    # most what they added to that of the few rows. The guess is taken between these, or else the nearer of the two.
    places = (most.many_rows - most.rows) * most.length
    least_slope, most_slope = (
        (most.many_bytes - before) / places for before in (most.trained_bytes, most.traced_bytes)
    )
    slope = min(max(guessed.bytes_per_place, least_slope), most_slope)
    each = bytes_per_shape(kinds)
    once = max(0.0, float(np.mean([_grown(kind) - each * _new_shapes(kind.updates) for kind in kinds])))
    least = most.evaluated_bytes - each * _new_shapes(most.evaluations)
    return MemoryModel(
        base_bytes=max(0.0, most.traced_bytes - slope * most.rows * most.length) + once,
        bytes_per_place=slope,
        measured=True,
        least_bytes=least + once if least > most.traced_bytes else 0.0,
    )


def _carried(found: MemoryModel, its_guess: MemoryModel, guess: MemoryModel) -> MemoryModel:
    """The memory measured for one kind, carried over to another kind by the difference of their guesses."""
    more = guess.base_bytes - its_guess.base_bytes
    rate = guess.bytes_per_place / its_guess.bytes_per_place
    evaluated = max(0.0, found.least_bytes - found.base_bytes) * rate
    return replace(
        found,
        base_bytes=max(0.0, found.base_bytes + more),
        bytes_per_place=found.bytes_per_place * rate,
        least_bytes=found.base_bytes + more + evaluated if found.least_bytes else 0.0,
    )


def bytes_per_shape(kinds: Sequence[Kind]) -> float:
    """What a process keeps of each compiled shape: the mean over all workers."""
    return min(SHAPE_BYTES, sum(map(_grown, kinds)) / max(1, sum(_new_shapes(kind.updates) for kind in kinds)))


def _grown(kind: Kind) -> int:
    """The bytes that updates added to the peak of everything before."""
    return kind.trained_bytes - kind.evaluated_bytes


def _new_shapes(timed: Sequence[Timed]) -> int:
    return sum(one.new_shapes for one in timed)


def _fitted(timed: Sequence[Timed], *, with_fixed: bool) -> tuple[float, Line]:
    """The fixed seconds (0 if not fitted) and the line of micro-batches; without first uses of shapes, if possible."""
    steady = [one for one in timed if not one.new_shapes] or list(timed)
    rows = np.array([_features(one, with_fixed) for one in steady], np.float64)
    seconds = np.array([one.seconds for one in steady])
    # Differences are relative, so an update of 5 ms counts as much as one of 5 s.
    rows /= seconds[:, None]
    scale = np.where((size := rows.max(axis=0)) > 0, size, 1)
    found = nnls(rows / scale, np.ones(len(rows)))[0] / scale
    fixed, each, token, place, packed = found.tolist()
    return fixed, Line(each=each, token=token, place=place, packed=packed)


def _features(one: Timed, with_fixed: bool) -> tuple[float, ...]:
    return float(with_fixed), one.cuts.count, one.cuts.tokens, one.cuts.places, one.cuts.packed


def _compiling(seen: Sequence[Seen], dtype: str) -> tuple[float, float]:
    """Seconds for each new shape of a dtype, for training and for evaluating, from how much longer first uses took.

    It takes sums over each kind and worker, not single shapes, because two workers that compile at once wait for each
    other.
    """
    # Without new shapes nothing was measured; forward and back takes about twice as long to compile as forward alone.
    rows = [(HINT, 0.0, HINT * GUESSED_COMPILE_SECONDS), (HINT, -2 * HINT, 0.0)]
    for kind in (kind for worker in seen for kind in worker.kinds if kind.trial.dtype == dtype):
        per_update, training = _fitted(kind.updates, with_fixed=True)
        _, evaluation = _fitted(kind.evaluations, with_fixed=False)
        rows.append((_new_shapes(kind.updates), 0, _over(kind.updates, per_update, training)))
        rows.append((0, _new_shapes(kind.evaluations), _over(kind.evaluations, 0.0, evaluation)))
        computed = training.seconds(kind.proof_training) + evaluation.seconds(kind.proof_evaluation)
        proved = kind.proved
        rows.append((proved.new_shapes, proved.new_forward_shapes, max(0.0, proved.seconds - computed)))
    table = np.array([row for row in rows if row[0] or row[1]], np.float64)
    both, forward = nnls(table[:, :2], table[:, 2])[0].tolist()
    return both, forward


def _over(timed: Sequence[Timed], fixed: float, line: Line) -> float:
    """The seconds by which updates or chunks with new shapes took longer than the fit predicts."""
    return max(0.0, sum(one.seconds - (fixed + line.seconds(one.cuts)) for one in timed if one.new_shapes))


def _spread(timed: Sequence[Timed], fixed: float, line: Line) -> float:
    """How far one worker's steady updates are from the fit in total."""
    steady = [one for one in timed if not one.new_shapes]
    if not steady:
        return 0.0
    ratio = sum(one.seconds for one in steady) / sum((fixed + line.seconds(one.cuts)) for one in steady)
    return max(ratio, 1 / ratio) - 1
