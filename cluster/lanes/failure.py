"""The failure of an attempt: the last word of a worker that met an exception, and what that says of the study."""

import sys
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cluster.lanes.breaker import is_of_surroundings
from trainer.cause import cause
from trainer.errors import DataError
from trainer.report import State

if TYPE_CHECKING:
    from trainer.check import Proof


@dataclass(frozen=True, kw_only=True)
class Failure:
    """The last word of an attempt that ended in an exception; `refused` if no trial of the study may be trained.

    `wrong_data` says that none can be: the data are damaged, or not those that the study was begun with.
    `smaller_helps` is False where memory ran out before any row was computed; `surroundings` says that what the trial
    stands on failed, and not the trial.
    """

    state: State
    error: str
    refused: bool = False
    wrong_data: bool = False
    smaller_helps: bool = True
    surroundings: bool = False
    peak_memory_bytes: int | None = None


class NotTheSameUpdateError(Exception):
    """The layout changes the update or the evaluation: nothing trained in it can be trusted."""

    def __init__(self, proof: "Proof") -> None:
        super().__init__(
            f"this layout does not give the same update: relative differences of {proof.micro_batches:.1e} in "
            f"micro-batches, {proof.workers:.1e} over the workers, {proof.evaluation:.1e} in the evaluation, allowed "
            f"{proof.tolerance:.0e}: nothing was trained; run `batchscope check` and report it"
        )


def failure_of(problem: BaseException, *, workers: int) -> Failure | None:
    """The state and the one-line error of an attempt that ended in `problem`; None if another worker's end may be why.

    A collective that lost a peer ends in errors of many classes, from UnavailableError to InternalError: with several
    workers they count as a loss, which the lane tries again a few times.
    """
    import tensorflow as tf

    from trainer.machine import memory

    if isinstance(problem, NotTheSameUpdateError):
        return Failure(state=State.FAILED, error=str(problem), refused=True)
    if isinstance(problem, DataError):
        return Failure(state=State.FAILED, error=str(problem), wrong_data=True)
    text = cause(problem)
    if memory.is_exhausted(problem):
        # What is to be told must not fail for want of memory too.
        memory.lift_limit()
        said = memory.sign_of_exhaustion(str(problem)) or text
        return Failure(state=State.OUT_OF_MEMORY, error=said[:500], peak_memory_bytes=memory.peak_bytes())
    sys.stderr.write("".join(traceback.format_exception(problem)))
    if (
        workers > 1
        and isinstance(problem, tf.errors.OpError)
        and not isinstance(problem, tf.errors.InvalidArgumentError)
    ):
        return None
    return Failure(state=State.FAILED, error=text, surroundings=is_of_surroundings(problem))
