"""What a lane does after a report on a trial's attempt: from (course, report) to instructions. Pure.

A trial is one course of attempts, and is always in one of these states:

    running    its attempt has no row yet: reports of its workers are kept and passed on
    closed     the attempt has its row (`Course.closed`), and it is decided what follows: another attempt begins (after
               a loss, or out of memory), which puts the trial back to running, or the trial has ended
    ended      the trial's end was passed on (`Course.ended`): further reports are ignored

A loss ends an attempt as LOST, and the trial goes on from its last checkpoint in another group. After FRUITLESS_AT_MOST
further losses without a new checkpoint the trial would never end, so it fails. Running out of memory ends an attempt as
OUT_OF_MEMORY, and the trial goes on with half the rows, or with the same number in a new process if this attempt came
further than the previous one; if nothing smaller can be tried, the trial ends. A trial that is being stopped
(`Course.stopping`) begins no other attempt after it ran out of memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cluster.lanes.events import AttemptExhausted, AttemptLost, LaneEvent, TrialEnded, TrialEvaluated
from cluster.lanes.failure import Failure, Fault
from cluster.lanes.reports import Beat, Ended, GaveWay, GroupLost, LaneMachine, Report, Taken, TakenBack
from cluster.lanes.station import Station
from cluster.study.at_once import RowsAtOnce
from trainer.report import Evaluation, Outcome, State
from trainer.trial import TrialSpec

FRUITLESS_AT_MOST = 2
STOPPED_EARLY = "stopped early: at equal examples it was worse than other learning rates of its global batch"
CALLED_BACK = "its machine was called back; it saved first"


@dataclass(frozen=True, kw_only=True)
class Course:
    """A trial's attempts in a lane so far.

    `rows` are those that its attempt computes at once; `began_at` is the update at which the attempt began, -1 before
    the trial's very first beat; `fruitless` counts consecutive losses without a new checkpoint; `reached` is the last
    beat before the present attempt.
    """

    trial: TrialSpec
    rows: RowsAtOnce
    began_at: int = -1
    fruitless: int = 0
    reached: Beat | None = None
    stopping: bool = False
    closed: bool = False
    ended: bool = False


@dataclass(frozen=True)
class Take:
    """Note where the attempt's rank 0 works."""

    station: Station


@dataclass(frozen=True)
class Keep:
    """Keep an evaluation of the attempt."""

    evaluation: Evaluation


@dataclass(frozen=True)
class WriteEnd:
    """Write the row of an attempt that came to its own end."""

    outcome: Outcome
    machine: LaneMachine
    error: str | None


@dataclass(frozen=True)
class WriteBreak:
    """Write the row of an attempt that something else ended.

    With `shrink_to`, the lanes first agree that micro-batches of this dtype have at most `shrink_to` rows.
    """

    failure: Failure
    shrink_to: int | None = None


@dataclass(frozen=True)
class DropAttempt:
    """Write nothing more about the attempt: the driver writes its row, if the summary can be used at all."""


@dataclass(frozen=True)
class CloseGroup:
    """Let the worker group end."""


@dataclass(frozen=True)
class BeginAgain:
    """Start a group of as many workers as there is room for, and begin the trial's next attempt on it."""


@dataclass(frozen=True)
class Tell:
    """Pass an event on to the driver; the lane adds what the attempt has cost."""

    event: LaneEvent


Instruction = Take | Keep | WriteEnd | WriteBreak | DropAttempt | CloseGroup | BeginAgain | Tell
Step = tuple[Course, tuple[Instruction, ...]]


def begun(course: Course, rows: RowsAtOnce) -> Course:
    """The course when another attempt begins with these `rows`."""
    return replace(course, rows=rows, closed=False)


def after(course: Course, report: Report, beats: Sequence[Beat] = ()) -> Step:
    """The course after a report, and what must be done, in this order.

    `beats` are the first and the last beat of the attempt, empty if there were none.
    """
    trial = course.trial
    match report:
        case Taken(station=station):
            return course, (Take(station),)
        case Evaluation():
            event = TrialEvaluated(trial=trial, examples=report.examples, validation_loss=report.validation_loss)
            return course, (Keep(report), Tell(event))
        case TakenBack(state=state):
            failure = Failure(state=state, error="stopped before its workers were ready")
            return _end(course, TrialEnded(trial=trial, state=state), WriteBreak(failure))
        case Failure(state=State.OUT_OF_MEMORY):
            return _exhausted(course, report, beats)
        case Failure():
            updates = beats[-1].update - beats[0].update if beats else 0
            ended = TrialEnded(trial=trial, state=report.state, error=report.error, fault=report.fault, updates=updates)
            return _end(course, ended, WriteBreak(report), CloseGroup())
        case Ended(outcome=Outcome(state=State.LOST) as outcome, machine=machine):
            course, further = _lost(replace(course, closed=True), "", beats)
            return course, (WriteEnd(outcome, machine, CALLED_BACK), *further)
        case Ended(outcome=outcome, machine=machine):
            return _came_to_its_end(course, outcome, machine)
        case GroupLost(exhausted=Failure() as failure) if not course.closed:
            return _exhausted(course, failure, beats)
        case GroupLost(reason=reason):
            return _lost(course, reason, beats)
        case GaveWay(error=error):
            ended = TrialEnded(trial=trial, state=State.FAILED, error=error, fault=Fault.SURROUNDINGS)
            return _end(course, ended, DropAttempt(), CloseGroup())


def _end(course: Course, ended: TrialEnded, *before: Instruction) -> Step:
    """End the trial; the driver is told last."""
    return replace(course, closed=True, ended=True), (*before, Tell(ended))


def _came_to_its_end(course: Course, outcome: Outcome, machine: LaneMachine) -> Step:
    if course.stopping and outcome.state is State.COMPLETED:
        # The trial completed before the stop reached it, but the protocol has already gone on without it, and must do
        # the same when the study is resumed.
        outcome = replace(outcome, state=State.STOPPED)
    error = STOPPED_EARLY if outcome.state is State.STOPPED else None
    ended = TrialEnded(
        trial=course.trial,
        state=outcome.state,
        examples=outcome.examples,
        validation_loss=outcome.best_validation_loss,
    )
    return _end(course, ended, WriteEnd(outcome, machine, error))


def _lost(course: Course, reason: str, beats: Sequence[Beat]) -> Step:
    """After the group ended, close the attempt if it is open, and begin another unless the trial would never end."""
    began = beats[0].update if beats else course.began_at
    fruitless = 0 if began > course.began_at else course.fruitless + 1
    reached = beats[-1] if beats else course.reached
    give_up = fruitless >= FRUITLESS_AT_MOST
    if give_up:
        error = f"its workers went away {FRUITLESS_AT_MOST + 1} times without a new checkpoint{reason}"
        failure = Failure(state=State.FAILED, error=error)
    else:
        failure = Failure(state=State.LOST, error=f"its workers went away before it ended{reason}")
    row = () if course.closed else (WriteBreak(failure),)
    course = replace(course, began_at=began, fruitless=fruitless, reached=reached, closed=True)
    if not give_up:
        return course, (*row, CloseGroup(), Tell(AttemptLost(trial=course.trial)), BeginAgain())
    ended = TrialEnded(trial=course.trial, state=State.FAILED, error=failure.error, updates=max(0, began))
    return _end(course, ended, *row, CloseGroup())


def _exhausted(course: Course, failure: Failure, beats: Sequence[Beat]) -> Step:
    """After a worker ran out of memory, close the attempt, and begin another with fewer rows if that is possible."""
    rows = course.rows
    began = beats[0].update if beats else course.began_at
    fewer = rows.half() if failure.smaller_helps else None
    if fewer is None and rows.shrinks and began > course.began_at:
        # A process keeps what it compiled for each shape as long as it lives: a new one may have room for the rest.
        fewer = rows.micro_batch
    course = replace(course, began_at=began, reached=beats[-1] if beats else course.reached, closed=True)
    row = WriteBreak(failure, shrink_to=fewer)
    if fewer is None:
        return _end(course, TrialEnded(trial=course.trial, state=State.OUT_OF_MEMORY), row, CloseGroup())
    if course.stopping:
        return course, (row,)
    return course, (row, CloseGroup(), Tell(AttemptExhausted(trial=course.trial)), BeginAgain())
