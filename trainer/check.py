"""The proof of contracts 2 and 4 on a real batch: the layout changes neither its gradient nor the evaluation.

The first global batch of a trial (at most ROWS_AT_MOST of its rows) is computed as a whole on one worker, in
micro-batches on one worker, and in micro-batches over all workers, with and without measuring its noise
(`trainer.update.noise`). The gradients must agree within the tolerance of the dtype. As many validation rows are
evaluated as a whole and in uneven pieces.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainer.order import plan
from trainer.order.layouts import ROWS_AT_MOST, Layout, evaluated, layouts, pieces

if TYPE_CHECKING:
    from trainer.data.splits import Data
    from trainer.trial import TrialSpec
    from trainer.update.update import Learner

# Contract 2: what remains is the difference between sums in different orders. In half precision a micro-batch's
# gradient and its parts are rounded to 8 or 11 bits before they are summed in float32: 16 such roundings are allowed.
# The largest differences measured were 2.2e-2 and 2.0e-4 (64 units, 60 tokens, on CPUs); a mean of means is off by 0.16
# and more.
TOLERANCES = {"float32": 1e-5, "float64": 1e-12, "mixed_bfloat16": 16 * 2.0**-8, "mixed_float16": 16 * 2.0**-11}


@dataclass(frozen=True, kw_only=True)
class Proof:
    """Relative differences from the whole batch on one worker (L2 for gradients), and the largest that is allowed.

    `repeats` is whether the whole batch gave the same gradient twice, to the last bit.
    """

    rows: int
    dtype: str
    repeats: bool
    micro_batches: float
    workers: float
    evaluation: float
    tolerance: float

    @property
    def largest(self) -> float:
        """The largest of the differences."""
        return _largest([self.micro_batches, self.workers, self.evaluation])

    @property
    def passed(self) -> bool:
        """Whether every layout gives the same update and evaluation."""
        return self.largest <= self.tolerance


def prove(
    trial: "TrialSpec", learner: "Learner", data: "Data", *, micro_batch: int, rows_at_most: int = ROWS_AT_MOST
) -> Proof:
    """Compare the layouts of `trial` on at most `rows_at_most` rows.

    Every worker must call this, and gets the same result. The learner's state is lost.
    """
    learner.start(trial)
    batch = min(trial.global_batch, rows_at_most)
    whole, again, *others = layouts(batch, micro_batch=micro_batch)
    expected = _gradient(trial, learner, data, batch, whole)
    repeats = np.array_equal(_gradient(trial, learner, data, batch, again), expected, equal_nan=True)
    # Every worker computes all layouts, so it traces both ways of summing before any clock of a trial runs.
    apart = [
        (layout.shared, _difference(_gradient(trial, learner, data, batch, layout), expected)) for layout in others
    ]
    return Proof(
        rows=batch,
        dtype=trial.dtype,
        repeats=repeats,
        micro_batches=_largest(difference for shared, difference in apart if not shared),
        workers=_largest(difference for shared, difference in apart if shared),
        evaluation=_evaluation(learner, data, rows_at_most),
        tolerance=TOLERANCES[trial.dtype],
    )


def _gradient(trial: "TrialSpec", learner: "Learner", data: "Data", batch: int, layout: Layout) -> npt.NDArray[Any]:
    """The gradient of the trial's first `batch` rows in this layout, summed over the workers, flat."""
    from trainer.data.share import read_share

    world, positions = learner.collective.world, plan.positions_of(0, batch)
    if layout.shared:
        positions = plan.share(positions, rank=world.rank, workers=world.workers)
    elif world.rank > 0:
        # The collective sums over all workers; to use one worker alone, the others add nothing.
        positions = positions[:0]
    add = learner.add_measured if layout.measured else learner.add
    for piece in pieces(positions, layout.piece):
        share = read_share(trial, data.train, piece, layout.micro_batch, measured=layout.measured)
        for micro_batch in share.micro_batches:
            add(micro_batch)
    return np.concatenate([array.ravel() for array in learner.gradient(global_batch=batch)[1]])


def _evaluation(learner: "Learner", data: "Data", rows_at_most: int) -> float:
    """The relative difference between the summed loss of some validation rows in pieces and all at once."""
    from trainer.data.share import read_arrays

    together = map(np.array, evaluated(min(len(data.validation), rows_at_most)))
    arrays = (read_arrays(learner.shape.task, data.validation, rows) for rows in together)
    losses = [learner.evaluate(tokens, labels)[0] for tokens, labels in arrays]
    whole, in_pieces = float(losses[0]), float(np.sum(losses[1:]))
    return abs(in_pieces - whole) / abs(whole) if whole else abs(in_pieces)


def _largest(differences: Iterable[float]) -> float:
    # NumPy's `max` returns NaN if there is one; Python's could hide it.
    return float(np.max(list(differences)))


def _difference(actual: npt.NDArray[Any], expected: npt.NDArray[Any]) -> float:
    size, apart = float(np.linalg.norm(expected)), float(np.linalg.norm(actual - expected))
    # The gradient of a batch can be zero; then that of every layout must be.
    return apart / size if size else apart
