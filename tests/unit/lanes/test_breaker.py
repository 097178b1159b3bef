"""When a study ends since no trial can go well: what the surroundings did, and three failures in the same words."""

import errno
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray

from cluster.lanes import schedule as schedules
from cluster.lanes.breaker import Break, cause
from cluster.lanes.events import TrialEnded, TrialEvent
from cluster.lanes.failure import Fault, failure_of
from cluster.lanes.schedule import understood
from cluster.lanes.surroundings import is_of_surroundings
from tests.support.unlaned import schedule
from trainer.data.store import Folder
from trainer.errors import DataError, InputError, NotReadyError
from trainer.report import State

FULL = OSError(errno.ENOSPC, "No space left on device", "/data/x")


TRIAL: Any = object()
DONE = TrialEnded(trial=TRIAL, state=State.COMPLETED)


def failed(error: str = "ValueError: no", **changes: Any) -> TrialEnded:
    return TrialEnded(trial=TRIAL, state=State.FAILED, error=error, **changes)


@pytest.mark.parametrize(
    ("ends", "text"),
    [
        ([], None),
        ([DONE], None),
        ([failed()], None),
        ([failed(), failed()], None),
        ([failed(), failed(), failed()], "ValueError: no"),
        ([DONE, failed(), failed(), failed()], "ValueError: no"),
        ([failed(), failed(), DONE, failed()], None),
        ([failed(), failed("ValueError: yes"), failed()], None),
        ([failed(), failed(updates=1), failed()], None),
        (
            [failed("x of 0123456789ab at 7"), failed("x of ba9876543210 at 12"), failed("x of aaaaaaaabbbb at 1")],
            "x of",
        ),
    ],
)
def test_three_failures_in_the_same_words_before_any_update_are_no_matter_of_the_trial(
    ends: list[TrialEnded], text: str | None
) -> None:
    found = cause(ends)
    assert (found is None) == (text is None)
    if found is not None and text is not None:
        assert found.text.startswith(text)
        assert found.fault is Fault.TRIAL


@pytest.mark.parametrize("fault", [Fault.SURROUNDINGS, Fault.DATA])
def test_one_failure_of_the_surroundings_or_the_data_is_enough(fault: Fault) -> None:
    fatal = failed("NotReadyError: the disk is full", fault=fault)
    assert cause([DONE, fatal]) == Break("the disk is full", fault)
    assert cause([fatal, DONE]) is None


def raised(problem: Exception, behind: BaseException | None = None) -> BaseException:
    try:
        try:
            if behind:
                raise behind
        except BaseException:
            raise problem from None
        raise problem
    except BaseException as found:
        return found


@pytest.mark.parametrize(
    ("problem", "behind", "is_so"),
    [
        (NotReadyError("cannot use s3://b"), None, True),
        (InputError("cannot write in /x"), FULL, True),
        (InputError("cannot write in /x"), NotADirectoryError(errno.ENOTDIR, "Not a directory"), True),
        (FULL, None, True),
        (RuntimeError("writing failed"), FULL, True),
        (InputError("label 7 is out of range"), None, False),
        (FileNotFoundError(errno.ENOENT, "no vectors.txt"), None, False),
        (ValueError("a bug of a factory"), FileNotFoundError(errno.ENOENT, "x"), False),
    ],
)
def test_what_is_of_the_surroundings(problem: Exception, behind: BaseException | None, is_so: bool) -> None:
    assert is_of_surroundings(raised(problem, behind)) is is_so


@pytest.mark.slow
def test_a_worker_that_cannot_write_says_that_it_was_no_fault_of_the_trial(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("a file where a folder should be")
    with pytest.raises(InputError) as refused:
        Folder(str(tmp_path / "checkpoints")).write("resume.json", b"{}")
    failure = failure_of(refused.value, workers=1)
    assert failure is not None
    assert failure.fault is Fault.SURROUNDINGS
    ordinary = failure_of(ValueError("shape"), workers=1)
    assert ordinary is not None
    assert ordinary.fault is Fault.TRIAL


def test_the_first_fault_of_the_surroundings_saves_what_runs_and_ends_the_study() -> None:
    found, board, events = schedule()
    found._note(DONE)
    assert not found.wait(0)
    found._note(failed("cannot write in /x", fault=Fault.SURROUNDINGS))
    found._note(TrialEnded(trial=TRIAL, state=State.CANCELLED))
    assert board.stopped == [State.CANCELLED]
    assert board.releases == 1
    assert len(events) == 3
    # What runs may save until the end has come.
    assert not found.wait(0)
    found._over.set()
    text = r"cannot write in /x; everything written so far is kept: run the same command again to continue"
    with pytest.raises(NotReadyError, match=text):
        found.wait(0)


def test_failures_alike_begin_no_further_trial_and_let_the_others_end() -> None:
    found, board, _ = schedule()
    for _ in range(3):
        found._note(failed("ValueError: no"))
    assert board.stopped == []
    assert board.releases == 1
    found._over.set()
    assert found.wait(0)
    assert found.cause == Break("ValueError: no", Fault.TRIAL)


@pytest.mark.parametrize("wrong_data_first", [True, False])
def test_wrong_data_are_said_whatever_another_lane_met_at_the_same_time(wrong_data_first: bool) -> None:
    found, board, events = schedule()
    ends = [failed("the data changed", fault=Fault.DATA), failed("cannot write in /x", fault=Fault.SURROUNDINGS)]
    for event in ends if wrong_data_first else reversed(ends):
        found._note(event)
    assert len(events) == 2
    assert set(board.stopped) == {State.CANCELLED}
    found._over.set()
    with pytest.raises(DataError, match=r"^the data changed$"):
        found.wait(0)


def test_a_disk_that_tune_fills_is_said_in_words() -> None:
    found = understood(raised(RuntimeError("Tune failed"), FULL))
    assert isinstance(found, NotReadyError)
    assert str(found).startswith("No space left on device at /data/x: make room there")


def lane_failed(problem: Exception | None) -> TrialEnded:
    """What is told of a trial whose lane ended with `problem`."""
    events: list[TrialEvent] = []
    watcher = schedules._Watcher(events.append, lambda: False)
    trial = SimpleNamespace(config={}, get_pickled_error=lambda: problem, last_result=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schedules, "trial_of", lambda config: config)
        watcher.on_trial_error(0, [], trial)
    [event] = events
    assert isinstance(event, TrialEnded)
    return event


@pytest.mark.parametrize(("free", "fault"), [(2**30, Fault.TRIAL), (4096, Fault.SURROUNDINGS)])
def test_a_lane_whose_error_found_no_room_is_a_fault_of_the_disk(
    free: int, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=free))
    event = lane_failed(None)
    assert event.error == f"its lane ended (Tune kept no reason in {tempfile.gettempdir()})"
    assert event.fault == fault


def test_a_lane_that_cannot_start_tells_why() -> None:
    event = lane_failed(ImportError("no cluster\nlong"))
    assert event.error == "its lane ended (ImportError: no cluster)"
    assert (event.state, event.updates, event.fault) == (State.FAILED, 0, Fault.TRIAL)


@pytest.mark.parametrize("problem", [NotReadyError("cannot use s3://b/x"), FULL])
def test_a_lane_that_could_not_write_between_two_trials_is_no_fault_of_the_next_one(problem: Exception) -> None:
    raised_in_lane = ray.exceptions.RayTaskError("reset", "traceback", problem)
    assert lane_failed(raised_in_lane).fault is Fault.SURROUNDINGS
