"""What a lane hears of a trial's attempt: reports of its workers by way of the board, and of its worker group."""

from dataclasses import dataclass

from cluster.lanes.failure import Failure
from cluster.lanes.station import Station
from trainer.report import Evaluation, Outcome, State


@dataclass(frozen=True, kw_only=True)
class Beat:
    """How far a trial has come: updates made, and seconds of training, all attempts together."""

    update: int
    seconds_training: float


@dataclass(frozen=True, kw_only=True)
class LaneMachine:
    """What an attempt ran on, the most memory its rank 0's process has held so far, and its layout's check.

    `gradient_check` is the largest relative difference that `trainer.check` found for trials of its shape.
    """

    device: str
    kernel_path: str
    tensorflow_version: str
    peak_memory_bytes: int
    gradient_check: float


@dataclass(frozen=True)
class Taken:
    """The group's rank 0, at `station`, has begun the assignment."""

    station: Station


@dataclass(frozen=True)
class TakenBack:
    """The assignment came off the board before any worker took it, because the trial is to end in `state`."""

    state: State


@dataclass(frozen=True)
class Ended:
    """The attempt came to an end of its own, which may be that it was told to save and stop."""

    outcome: Outcome
    machine: LaneMachine


@dataclass(frozen=True)
class GroupLost:
    """The worker group ended under the attempt; `exhausted` if one of its workers was ended for want of memory."""

    reason: str
    exhausted: Failure | None = None


@dataclass(frozen=True)
class GaveWay:
    """What the lane itself stands on failed: a store that cannot be used, or the board."""

    error: str


WorkerReport = Taken | TakenBack | Evaluation | Ended | Failure
Report = WorkerReport | GroupLost | GaveWay
