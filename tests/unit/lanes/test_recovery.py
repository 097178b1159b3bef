"""What a lane does after each report, over all sequences of reports: no row twice, no row missing, and an end."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.lanes import recovery
from cluster.lanes.events import AttemptExhausted, AttemptLost, TrialEnded, TrialEvaluated
from cluster.lanes.failure import Failure, Fault
from cluster.lanes.recovery import BeginAgain, CloseGroup, Course, DropAttempt, Tell, WriteBreak, WriteEnd
from cluster.lanes.reports import Beat, Ended, GaveWay, GroupLost, LaneMachine, Report, Taken, TakenBack
from cluster.study.at_once import RowsAtOnce
from tests.support.trials import TINY
from tests.unit.lanes.test_board import HERE
from trainer.report import Evaluation, Outcome, State

MACHINE = LaneMachine(
    device="cpu", kernel_path="k", tensorflow_version="2", peak_memory_bytes=1, gradient_check=0.0, repeats=1, tf32=0
)
EVALUATION = Evaluation(
    update=1,
    examples=17,
    epoch=0.1,
    seconds=1.0,
    training_loss=1.0,
    validation_loss=0.5,
    validation_accuracy=None,
    gradient_norm=None,
    learning_rate=0.1,
)


def outcome(state: State) -> Outcome:
    nothing: dict[str, Any] = dict.fromkeys(Outcome.__dataclass_fields__)
    return Outcome(**{**nothing, "state": state, "examples": 17, "best_validation_loss": 0.25})


OWN_ENDS = [State.COMPLETED, State.STOPPED, State.DIVERGED, State.CANCELLED]
FAILURES = st.builds(
    Failure,
    state=st.sampled_from([State.OUT_OF_MEMORY, State.FAILED]),
    error=st.just("why"),
    fault=st.sampled_from(Fault),
    smaller_helps=st.booleans(),
)
EXHAUSTED = st.builds(Failure, state=st.just(State.OUT_OF_MEMORY), error=st.just("short"))
REPORTS: st.SearchStrategy[Report] = st.one_of(
    st.just(Taken(HERE)),
    st.just(EVALUATION),
    st.sampled_from([TakenBack(State.CANCELLED), TakenBack(State.STOPPED)]),
    FAILURES,
    st.sampled_from([Ended(outcome(state), MACHINE) for state in [*OWN_ENDS, State.LOST]]),
    st.builds(GroupLost, reason=st.just(" (gone)"), exhausted=st.none() | EXHAUSTED),
    st.just(GaveWay("the disk is full")),
)
COURSES = st.builds(
    Course,
    trial=st.just(TINY),
    rows=st.builds(RowsAtOnce, micro_batch=st.integers(1, 64), evaluation=st.just(256), shrinks=st.booleans()),
    stopping=st.booleans(),
)
BEATS = st.lists(st.integers(0, 9), max_size=2).map(
    lambda updates: [Beat(update=update, seconds_training=1.0) for update in sorted(updates)]
)


@pytest.mark.slow
@given(COURSES, st.lists(st.tuples(REPORTS, BEATS), max_size=30))
def test_each_attempt_has_one_row_and_only_an_open_trial_begins_another(course: Course, heard: list[Any]) -> None:
    rows, limit = 0, course.rows.micro_batch
    for report, beats in heard:
        if course.ended or (course.closed and not isinstance(report, GroupLost)):
            break
        before = course
        course, done = recovery.after(course, report, beats)
        written = [one for one in done if isinstance(one, WriteEnd | WriteBreak | DropAttempt)]
        rows += len(written)
        # The row comes first: whatever follows may fail, and nobody is told what is not written.
        assert len(written) <= 1
        assert not written or done[0] is written[0]
        assert (not before.closed and course.closed) <= bool(written)
        assert not (before.closed and written)
        told = [one.event for one in done if isinstance(one, Tell)]
        assert course.ended == any(isinstance(event, TrialEnded) for event in told)
        begins = BeginAgain() in done
        assert not (begins and course.ended)
        if begins:
            # No attempt begins on the group of the one before.
            assert done.index(CloseGroup()) < done.index(BeginAgain())
            assert any(isinstance(event, AttemptLost | AttemptExhausted) for event in told)
            for one in written:
                if isinstance(one, WriteBreak) and one.shrink_to is not None:
                    assert not before.stopping
                    assert one.shrink_to <= limit
                    limit = one.shrink_to
            course = recovery.begun(course, course.rows.within(limit))
            assert not course.closed
    assert rows <= len(heard)


@pytest.mark.slow
@given(COURSES, st.lists(st.sampled_from([0, 0, 0, 1]), min_size=200, max_size=200), st.data())
def test_a_trial_that_takes_its_workers_with_it_ends(course: Course, gains: list[int], data: st.DataObject) -> None:
    """Losses and exhaustion end after a bounded number of attempts that came no further."""
    course, came, fruitless = replace(course, stopping=False), 0, 0
    for gain in gains:
        came += gain
        fruitless = 0 if gain else fruitless + 1
        kind = data.draw(st.sampled_from([None, Failure(state=State.OUT_OF_MEMORY, error="short")]))
        course, done = recovery.after(course, GroupLost("", exhausted=kind), [Beat(update=came, seconds_training=1.0)])
        if course.ended:
            return
        [row] = [one for one in done if isinstance(one, WriteBreak)]
        course = recovery.begun(course, course.rows.within(row.shrink_to))
        # Each halving may use one, besides the losses in a row.
        assert fruitless <= 3 * (recovery.FRUITLESS_AT_MOST + 1) + 7


def course_of(**changes: Any) -> Course:
    return Course(trial=TINY, rows=RowsAtOnce(micro_batch=8, evaluation=64), **changes)


def test_a_trial_goes_on_after_a_loss_and_fails_when_nothing_is_gained_any_more() -> None:
    course, gone = course_of(), GroupLost(" (gone)")
    for began_at in (0, 40, 40):
        course, done = recovery.after(course, gone, [Beat(update=began_at, seconds_training=1.0)])
        failure = Failure(state=State.LOST, error="its workers went away before it ended (gone)")
        assert done == (WriteBreak(failure), CloseGroup(), Tell(AttemptLost(trial=TINY)), BeginAgain())
        course = recovery.begun(course, course.rows)
    course, done = recovery.after(course, gone, [Beat(update=40, seconds_training=1.0)])
    error = "its workers went away 3 times without a new checkpoint (gone)"
    assert done == (
        WriteBreak(Failure(state=State.FAILED, error=error)),
        CloseGroup(),
        Tell(TrialEnded(trial=TINY, state=State.FAILED, error=error, updates=40)),
    )


def test_a_trial_whose_machine_is_called_back_has_its_own_row_and_goes_on() -> None:
    saved = Ended(outcome(State.LOST), MACHINE)
    course, done = recovery.after(course_of(), saved, [Beat(update=3, seconds_training=1.0)])
    assert done == (
        WriteEnd(saved.outcome, MACHINE, recovery.CALLED_BACK),
        CloseGroup(),
        Tell(AttemptLost(trial=TINY)),
        BeginAgain(),
    )
    assert (course.began_at, course.reached) == (3, Beat(update=3, seconds_training=1.0))


def test_what_completed_before_it_heard_that_it_is_stopped_was_stopped() -> None:
    for stopping, state, error in ((True, State.STOPPED, recovery.STOPPED_EARLY), (False, State.COMPLETED, None)):
        course, done = recovery.after(course_of(stopping=stopping), Ended(outcome(State.COMPLETED), MACHINE))
        assert done == (
            WriteEnd(outcome(state), MACHINE, error),
            Tell(TrialEnded(trial=TINY, state=state, examples=17, validation_loss=0.25)),
        )
        assert course.ended


def test_a_failure_says_how_far_its_own_attempt_came() -> None:
    failure = Failure(state=State.FAILED, error="ValueError: no", fault=Fault.LAYOUT)
    beats = [Beat(update=40, seconds_training=1.0), Beat(update=42, seconds_training=2.0)]
    _, done = recovery.after(course_of(), failure, beats)
    ended = TrialEnded(trial=TINY, state=State.FAILED, error="ValueError: no", fault=Fault.LAYOUT, updates=2)
    assert done == (WriteBreak(failure), CloseGroup(), Tell(ended))


def test_an_evaluation_is_kept_and_told() -> None:
    course, done = recovery.after(course_of(), EVALUATION)
    assert course == course_of()
    assert done == (
        recovery.Keep(EVALUATION),
        Tell(TrialEvaluated(trial=TINY, examples=17, validation_loss=0.5)),
    )
