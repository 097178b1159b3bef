"""The proof of contracts 2 and 4 on a real batch: the layout changes neither its gradient nor the evaluation.

The first global batch of a trial (at most ROWS_AT_MOST rows of it) goes whole through one worker, in micro-batches on
one worker, and in micro-batches over all workers, with and without their noise measured (`trainer.update.noise`): the
gradients must agree to the tolerance of the dtype. The same number of validation rows is evaluated whole and in uneven
pieces.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainer.order import plan

if TYPE_CHECKING:
    from trainer.data.splits import Data
    from trainer.trial import TrialSpec
    from trainer.update.update import Learner

# Large enough to be cut unevenly, small enough to take seconds and to fit where a micro-batch does.
ROWS_AT_MOST = 64
SMALL_MICRO_BATCH = 5
PIECE_ROWS = 7
# Contract 2. The rest is what sums in another order differ by. In half precision a micro-batch's gradient is rounded to
# 8 or 11 bits before it is summed in float32, and so are its parts: 16 such roundings are allowed. Measured were up to
# 2.2e-2 and 2.0e-4 (64 units, 60 tokens, on CPUs); a mean of means is off by 0.16 and more.
TOLERANCES = {"float32": 1e-5, "float64": 1e-12, "mixed_bfloat16": 16 * 2.0**-8, "mixed_float16": 16 * 2.0**-11}


@dataclass(frozen=True, kw_only=True)
class Proof:
    """The relative differences from the whole batch on one worker, L2 for gradients, and the most that is allowed."""

    rows: int
    dtype: str
    micro_batches: float
    workers: float
    evaluation: float
    tolerance: float

    @property
    def largest(self) -> float:
        """The largest of the differences."""
        # NumPy's, for which what is not a number is the largest: Python's would hide it.
        return float(np.max([self.micro_batches, self.workers, self.evaluation]))

    @property
    def passed(self) -> bool:
        """Whether every layout gives the same update and evaluation."""
        return self.largest <= self.tolerance


def prove(
    trial: "TrialSpec", learner: "Learner", data: "Data", *, micro_batch: int, rows_at_most: int = ROWS_AT_MOST
) -> Proof:
    """Compare the layouts of `trial` on at most so many rows; every worker calls it and gets the same answer.

    The learner's state is lost.
    """
    from trainer.data.share import read_share

    learner.start(trial)
    world, batch = learner.collective.world, min(trial.global_batch, rows_at_most)
    positions = plan.positions_of(0, batch)

    def gradient(part: range, rows_at_once: int, *, measured: bool = False, pieces: int = batch) -> npt.NDArray[Any]:
        for start in range(0, len(part), pieces):
            piece = part[start : start + pieces]
            for one in read_share(trial, data.train, piece, rows_at_once, measured=measured).micro_batches:
                (learner.add_measured if measured else learner.add)(one)
        return np.concatenate([array.ravel() for array in learner.gradient(global_batch=batch)[1]])

    # The collective sums over all workers: alone, a worker's gradient is what it adds while the others add nothing.
    mine = positions if world.rank == 0 else positions[:0]
    share = plan.share(positions, rank=world.rank, workers=world.workers)
    whole = gradient(mine, batch)
    # The small ones as the rows come: sorted by length they would have twice the shapes, each compiled for seconds.
    cut = [gradient(mine, micro_batch), gradient(mine, SMALL_MICRO_BATCH, pieces=SMALL_MICRO_BATCH)]
    small = float(np.max([_difference(one, whole) for one in cut]))
    # Here every worker traces both, before any clock of a trial runs.
    on_all = [_difference(gradient(share, micro_batch, measured=measured), whole) for measured in (False, True)]
    return Proof(
        rows=batch,
        dtype=trial.dtype,
        micro_batches=small,
        workers=float(np.max(on_all)),
        evaluation=_evaluation(learner, data, rows_at_most),
        tolerance=TOLERANCES[trial.dtype],
    )


def _evaluation(learner: "Learner", data: "Data", rows_at_most: int) -> float:
    """How far the summed loss of some validation rows, in pieces, is from that of all at once."""
    rows = np.arange(min(len(data.validation), rows_at_most))
    from trainer.data.share import read_arrays

    pieces = [rows, *(rows[start : start + PIECE_ROWS] for start in range(0, len(rows), PIECE_ROWS))]
    arrays = (read_arrays(learner.shape.task, data.validation, piece) for piece in pieces)
    losses = [learner.evaluate(tokens, labels)[0] for tokens, labels in arrays]
    whole, in_pieces = float(losses[0]), float(np.sum(losses[1:]))
    return abs(in_pieces - whole) / abs(whole) if whole else abs(in_pieces)


def _difference(found: npt.NDArray[Any], expected: npt.NDArray[Any]) -> float:
    size, apart = float(np.linalg.norm(expected)), float(np.linalg.norm(found - expected))
    # The gradient of a batch can be nothing at all: then every layout's must be.
    return apart / size if size else apart
