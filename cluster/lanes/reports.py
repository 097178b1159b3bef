"""The reports that a lane receives about an attempt: from its workers by way of the board, and from its group."""

from dataclasses import dataclass

from cluster.lanes.failure import Failure
from cluster.lanes.station import Station
from trainer.report import Evaluation, Outcome, State


@dataclass(frozen=True, kw_only=True)
class Beat:
    """How far a trial has come: updates made and seconds of training, over all attempts."""

    update: int
    seconds_training: float


@dataclass(frozen=True, kw_only=True)
class LaneMachine:
    """What an attempt ran on, the most memory that the process of rank 0 has held, and the check of its layout.

    `gradient_check` is the largest relative difference that `trainer.check` found for trials of its shape; `repeats` is
    1 if the same gradient came out twice to the last bit, and `tf32` 1 if float32 was rounded to TF32 on a card.
    """

    device: str
    kernel_path: str
    tensorflow_version: str
    peak_memory_bytes: int
    gradient_check: float
    repeats: int
    tf32: int
    gpu_name: str | None = None
    driver: str | None = None
    cudnn: str | None = None


@dataclass(frozen=True)
class Taken:
    """Rank 0 of the group, at `station`, has begun the assignment."""

    station: Station


@dataclass(frozen=True)
class TakenBack:
    """The assignment came off the board before any worker took it, because the trial must end in `state`."""

    state: State


@dataclass(frozen=True)
class Ended:
    """The attempt came to its own end, perhaps because it was asked to save and stop."""

    outcome: Outcome
    machine: LaneMachine


@dataclass(frozen=True)
class GroupLost:
    """The worker group ended during the attempt; `exhausted` is set if one of its workers ran out of memory."""

    reason: str
    exhausted: Failure | None = None


@dataclass(frozen=True)
class GaveWay:
    """Something that the lane itself depends on failed: a store that cannot be used, or the board."""

    error: str


WorkerReport = Taken | TakenBack | Evaluation | Ended | Failure
Report = WorkerReport | GroupLost | GaveWay
