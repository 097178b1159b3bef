"""What a run tells whoever drives it: the events of its lanes, and its own."""

from dataclasses import dataclass

from cluster.lanes.events import AttemptExhausted, AttemptLost, TrialBegan, TrialEnded, TrialEvaluated
from cluster.study.study import Study

A_SIGNAL = "a signal"


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """The run waits, or must be waited for, in the words of `text`."""

    text: str


@dataclass(frozen=True, kw_only=True)
class StudyOpened:
    """The study is open in its summary, as it goes on from there: `finished` of the `asked` trials have an answer.

    `finished_examples` are those that the finished trials were to use.
    """

    study: Study
    asked: int
    finished: int
    finished_examples: int


@dataclass(frozen=True, kw_only=True)
class RayConnected:
    """Ray is there, and nothing was trained yet; an exception of whoever hears this ends the run."""

    study: Study


@dataclass(frozen=True, kw_only=True)
class Stopping:
    """The run saves and stops before its study is over, for `reason`."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class NotCompacted:
    """The study ended, but its rows stay in many small files, for `reason`; no result is touched by that."""

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
