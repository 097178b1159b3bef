"""The events that a run passes to its caller: those of its lanes, and its own."""

from collections.abc import Callable
from dataclasses import dataclass

from cluster.lanes.events import AttemptExhausted, AttemptLost, TrialBegan, TrialEnded, TrialEvaluated
from cluster.study.study import Study

A_SIGNAL = "a signal"


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """The run waits, or something takes a while, as `text` explains."""

    text: str


@dataclass(frozen=True, kw_only=True)
class StudyOpened:
    """The study is open in its summary and goes on from there: `finished` of the `asked` trials have an answer.

    `finished_examples` is the number of examples that the finished trials were planned to use.
    """

    study: Study
    asked: int
    finished: int
    finished_examples: int


@dataclass(frozen=True, kw_only=True)
class RayConnected:
    """Ray is connected, and nothing has been trained yet; an exception in the listener ends the run.

    `bill_usd` returns what the whole fleet has cost since the run began, at any moment and from any thread; None where
    there is no fleet, or a price is unknown.
    """

    study: Study
    bill_usd: Callable[[], float | None]


@dataclass(frozen=True, kw_only=True)
class Stopping:
    """The run saves and stops before its study is over, because of `reason`."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class NotCompacted:
    """The study ended, but its rows stay in many small files, because of `reason`; that affects no result."""

    reason: str


Event = (
    Waiting
    | StudyOpened
    | RayConnected
    | TrialBegan
    | TrialEvaluated
    | AttemptLost
    | AttemptExhausted
    | TrialEnded
    | Stopping
    | NotCompacted
)
