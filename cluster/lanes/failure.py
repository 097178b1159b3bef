"""The failure of an attempt: the last report of a worker that met an exception, and what it means for the study."""

import sys
import traceback
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from cluster.lanes.surroundings import is_of_surroundings
from cluster.lanes.traceback_end import traceback_end
from trainer.cause import cause
from trainer.errors import DataError
from trainer.report import State

if TYPE_CHECKING:
    from trainer.check import Proof


class Fault(StrEnum):
    """What was at fault when an attempt failed, which decides what happens to the study.

    TRIAL: other trials may still succeed. LAYOUT: the layout changes the update, so no trial may be trained. DATA: the
    data are damaged, or are not those that the study was begun with, so no trial can be trained. SURROUNDINGS: a store,
    a disk or the board failed, and every trial needs it.
    """

    TRIAL = "trial"
    LAYOUT = "layout"
    DATA = "data"
    SURROUNDINGS = "surroundings"


@dataclass(frozen=True, kw_only=True)
class Failure:
    """The last report of an attempt that ended in an exception.

    `smaller_helps` is False where memory ran out before any row was computed. `traceback` is the end of the exception's
    traceback, None where the error says it all.
    """

    state: State
    error: str
    fault: Fault = Fault.TRIAL
    smaller_helps: bool = True
    peak_memory_bytes: int | None = None
    traceback: str | None = None


class NotTheSameUpdateError(Exception):
    """The layout changes the update or the evaluation: nothing trained in it can be trusted."""

    def __init__(self, proof: "Proof") -> None:
        super().__init__(
            f"this layout does not give the same update: relative differences of {proof.micro_batches:.1e} in "
            f"micro-batches, {proof.workers:.1e} over the workers, {proof.evaluation:.1e} in the evaluation, allowed "
            f"{proof.tolerance:.0e}: nothing was trained; run `batchscope check` and report it"
        )


def failure_of(problem: BaseException, *, workers: int) -> Failure | None:
    """The state and the one-line error of an attempt that ended in `problem`; None if a lost peer may be the cause.

    A worker that lost a peer meets a ConnectionError, which in a graph becomes an error of TensorFlow's. With several
    workers such an error counts as a loss, after which the lane tries again a few times.
    """
    import tensorflow as tf

    from trainer.machine import compiled, memory

    if isinstance(problem, NotTheSameUpdateError):
        return Failure(state=State.FAILED, error=str(problem), fault=Fault.LAYOUT)
    if isinstance(problem, DataError):
        return Failure(state=State.FAILED, error=str(problem), fault=Fault.DATA)
    if (full := compiled.full(problem)) is not None:
        # TensorFlow calls a full disk an exhausted resource, as it does memory.
        return Failure(state=State.FAILED, error=full, fault=Fault.SURROUNDINGS)
    text = cause(problem)
    if memory.is_exhausted(problem):
        # The report itself must not fail for lack of memory.
        memory.lift_limit()
        sign = memory.sign_of_exhaustion(str(problem)) or text
        return Failure(state=State.OUT_OF_MEMORY, error=sign[:500], peak_memory_bytes=memory.peak_bytes())
    sys.stderr.write("".join(traceback.format_exception(problem)))
    of_peers = isinstance(problem, ConnectionError | tf.errors.OpError)
    if workers > 1 and of_peers and not isinstance(problem, tf.errors.InvalidArgumentError):
        return None
    fault = Fault.SURROUNDINGS if is_of_surroundings(problem) else Fault.TRIAL
    return Failure(state=State.FAILED, error=text, fault=fault, traceback=traceback_end(problem))
