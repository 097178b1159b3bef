"""A lane without Ray: its trial's rows, its groups and what it tells, from reports on a board in the same process."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import ray

from cluster.lanes.board import Assignment
from cluster.lanes.events import AttemptExhausted, AttemptLost, LaneEvent, TrialEnded
from cluster.lanes.failure import Failure, Fault
from cluster.lanes.lane import Lane, Outside
from cluster.lanes.lane_board import LaneBoard
from cluster.lanes.reports import Beat, Taken, TakenBack, WorkerReport
from cluster.lanes.settings import LaneSettings
from cluster.lanes.station import Station
from cluster.lanes.trainable import SECONDS_OF_WARM_REST, LaneTrainable
from cluster.study.at_once import RowsAtOnce
from cluster.summary.tables import AXES
from tests.support.trials import TINY
from tests.unit.lanes.test_board import HERE
from trainer.errors import InputError, NotReadyError
from trainer.report import State

AUTO = RowsAtOnce(micro_batch=8, evaluation=64)


class Script(LaneBoard):
    """A board on which a test says what is heard next; assignments are kept."""

    def __init__(self) -> None:
        self.assignments: list[tuple[str, Assignment]] = []
        self.next: Callable[[], list[WorkerReport]] = list
        self.began_at: int | None = None
        self.computed: int | None = None
        self._limits: dict[str, int] = {}

    def post(self, group: str, assignment: Assignment) -> None:
        self.assignments.append((group, assignment))

    def hear(self, group: str) -> list[WorkerReport]:
        found, self.next = self.next(), list
        return found

    def heard(self, group: str) -> list[WorkerReport]:
        return self.hear(group)

    def beats(self, group: str) -> list[Beat]:
        return [] if self.began_at is None else [Beat(update=self.began_at, seconds_training=1.0)]

    def steps(self, group: str) -> int | None:
        return self.computed

    def stations(self, group: str) -> list[Station]:
        return [HERE]

    def largest(self, dtype: str) -> int | None:
        return self._limits.get(dtype)

    def shrink(self, dtype: str, micro_batch: int) -> int:
        self._limits[dtype] = min(self._limits.get(dtype, micro_batch), micro_batch)
        return self._limits[dtype]

    def stop(self, group: str, state: State) -> None:
        self.next = lambda: [TakenBack(state)]


class Group:
    """A group whose workers are the test itself."""

    def __init__(self, name: str, workers: int) -> None:
        self.name, self.workers, self.alive = name, workers, True
        self.problem: BaseException | None = None

    def close(self, *, seconds: float = 0.0) -> None:
        self.alive = False

    def kill(self, reason: str) -> None:
        self.alive, self.problem = False, TimeoutError(reason)


class Recorder:
    """Keeps the rows of attempts; with a `problem` it writes none."""

    def __init__(self) -> None:
        self.rows: list[Mapping[str, Any]] = []
        self.begun = 0
        self.problem: Exception | None = None

    def next_attempt(self, study: str, trial_id: str) -> int:
        if self.problem:
            raise self.problem
        return self.begun + 1

    def attempt_started(self, study: str, trial_id: str, attempt: int, fields: Mapping[str, Any]) -> None:
        self.begun = attempt

    def write_evaluations(self, rows: Sequence[Mapping[str, Any]], *, part: int) -> None:
        raise AssertionError("nothing was evaluated")

    def write_trial(self, row: Mapping[str, Any]) -> None:
        self.rows.append(row)


class Play:
    """A lane with a trial on it, whose workers are the test."""

    def __init__(self, rows: RowsAtOnce = AUTO, signs: Sequence[str | None] = (), **changes: Any) -> None:
        nothing: dict[str, Any] = dict.fromkeys(LaneSettings.__dataclass_fields__)
        self.recorder, self.board, self.groups = Recorder(), Script(), list[Group]()
        left = iter(signs)
        some = {
            "recorder": self.recorder,
            "study": "s",
            "workers": {17: 2},
            "micro_batches": {17: min(9, rows.micro_batch)},
            "rows_at_once": {"float32": rows},
            "facts": {},
            "seconds_without_step": 900.0,
        }
        outside = Outside(
            start_group=self._start,
            wait_for_workers=lambda settings, wanted: wanted,
            read_sign=lambda stations: next(left),
        )
        self.lane = Lane(LaneSettings(**nothing | some | changes), self.board, "t", TINY, outside)
        self.lane.take(TINY, "grid")

    def _start(self, settings: LaneSettings, *, name: str, workers: int) -> Any:
        self.groups.append(Group(name, workers))
        return self.groups[-1]

    def hears(self, *reports: WorkerReport, began_at: int | None = None) -> LaneEvent:
        """The next event of the lane, whose attempt has these reports after it began at an update."""
        self.board.next, self.board.began_at = lambda: list(reports), began_at
        return self.lane.next_event()

    def loses(self, problem: BaseException) -> LaneEvent:
        """The next event of the lane, whose group ends under its attempt."""

        def end() -> list[WorkerReport]:
            self.groups[-1].alive, self.groups[-1].problem = False, problem
            return []

        self.board.next = end
        return self.lane.next_event()


def exhausted(**more: Any) -> Failure:
    return Failure(state=State.OUT_OF_MEMORY, error="short", **more)


def test_the_trial_goes_on_in_half_the_rows_on_another_group_until_there_is_one_row() -> None:
    play = Play()
    events = [play.hears(exhausted()) for _ in range(4)]
    rows = play.recorder.rows
    assert [(row["state"], row["micro_batch"], row["micro_batch_next"]) for row in rows] == [
        ("OUT_OF_MEMORY", 8, 4),
        ("OUT_OF_MEMORY", 4, 2),
        ("OUT_OF_MEMORY", 2, 1),
        ("OUT_OF_MEMORY", 1, None),
    ]
    assert [row["attempt"] for row in rows] == [1, 2, 3, 4]
    assert list(map(type, events)) == [AttemptExhausted, AttemptExhausted, AttemptExhausted, TrialEnded]
    assert events[-1] == TrialEnded(trial=TINY, state=State.OUT_OF_MEMORY, cost_usd=0.0)
    # A group that ran out of memory is never used again.
    assert len({group.name for group in play.groups}) == 4
    assert not any(group.alive for group in play.groups)


def test_the_next_group_gets_the_same_trial_in_fewer_rows() -> None:
    play = Play()
    play.hears(exhausted())
    (before, first), (after, second) = play.board.assignments
    assert before != after
    assert first.trial == second.trial == TINY
    assert (second.micro_batch, second.rows_at_once.evaluation) == (4, 32)
    assert second.checkpoints.endswith(TINY.trial_id)


def test_a_row_has_the_trials_place_on_every_axis() -> None:
    play = Play()
    trial = replace(TINY, optimizer="adamw", weight_decay=0.01, settings="weight_decay 0.01")
    play.lane.take(trial, "grid")
    play.hears(exhausted())
    [row, *_] = play.recorder.rows
    for axis in (*AXES, "settings"):
        assert row[axis] == getattr(trial, axis), axis


def test_in_single_rows_it_goes_on_as_long_as_each_attempt_begins_further_on() -> None:
    play = Play(RowsAtOnce(micro_batch=1, evaluation=8))
    events = [play.hears(exhausted(), began_at=update) for update in (0, 40, 40)]
    assert isinstance(events[-1], TrialEnded)
    assert [row["micro_batch_next"] for row in play.recorder.rows] == [1, 1, None]


@pytest.mark.parametrize(
    ("rows", "more"),
    [
        (RowsAtOnce(micro_batch=8, evaluation=64, shrinks=False), {}),
        (AUTO, {"smaller_helps": False}),
    ],
)
def test_where_nothing_smaller_may_be_tried_it_is_the_answer(rows: RowsAtOnce, more: dict[str, Any]) -> None:
    play = Play(rows)
    assert isinstance(play.hears(exhausted(**more)), TrialEnded)
    [row] = play.recorder.rows
    assert (row["state"], row["micro_batch"], row["micro_batch_next"]) == ("OUT_OF_MEMORY", 8, None)
    assert not play.groups[-1].alive


def test_wrong_data_end_the_trial_in_a_row_that_says_so_and_the_study_hears_of_it() -> None:
    play = Play()
    event = play.hears(Failure(state=State.FAILED, error="other data", fault=Fault.DATA))
    assert isinstance(event, TrialEnded)
    assert (event.state, event.error, event.fault) == (State.FAILED, "other data", Fault.DATA)
    [row] = play.recorder.rows
    assert (row["state"], row["error"]) == ("FAILED", "other data")
    assert not play.groups[-1].alive


def test_a_process_that_ended_without_a_word_is_judged_by_what_it_wrote() -> None:
    play = Play(signs=["what():  std::bad_alloc", None], memory_bytes=2**30)
    events = [play.loses(RuntimeError("gone")) for _ in range(2)]
    rows = play.recorder.rows
    assert [(row["state"], row["micro_batch"], row["micro_batch_next"]) for row in rows] == [
        ("OUT_OF_MEMORY", 8, 4),
        ("LOST", 4, None),
    ]
    assert "std::bad_alloc" in rows[0]["error"]
    assert rows[1]["error"] == "its workers went away before it ended (RuntimeError: gone)"
    assert list(map(type, events)) == [AttemptExhausted, AttemptLost]


def test_a_worker_that_ray_ended_for_want_of_memory_ran_out_of_it() -> None:
    problem = RuntimeError("Train failed")
    problem.worker_failures = {1: ray.exceptions.OutOfMemoryError("the node has none left")}  # type: ignore[attr-defined]
    play = Play()
    assert isinstance(play.loses(problem), AttemptExhausted)
    assert play.recorder.rows[0]["state"] == "OUT_OF_MEMORY"


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (InputError("cannot write in /summary: writing a file was refused"), "cannot write in /summary"),
        (NotReadyError("cannot use s3://b/x"), "cannot use s3://b/x"),
        (ray.exceptions.ActorDiedError(), "the study's board, a process of Ray on the head, has ended"),
    ],
)
@pytest.mark.parametrize("begun", [False, True])
def test_a_lane_that_cannot_write_or_ask_ends_its_trial_with_the_cause(
    problem: Exception, text: str, begun: bool
) -> None:
    play = Play()
    if begun:
        play.hears(exhausted())

    def failing() -> list[WorkerReport]:
        raise problem

    play.recorder.problem, play.board.next = (problem if not begun else None), failing
    event = play.lane.next_event()
    assert isinstance(event, TrialEnded)
    assert (event.state, event.fault, event.cost_usd) == (State.FAILED, Fault.SURROUNDINGS, None)
    assert event.error is not None
    assert event.error.startswith(text)
    assert not play.groups[-1].alive
    # Nothing more is asked of what failed.
    play.lane.stop_trial()


def test_a_trial_that_is_stopped_early_gets_its_row_before_the_next_one_is_taken() -> None:
    play = Play()
    play.board.next = lambda: [TakenBack(State.STOPPED)]
    # Its attempt has begun, and no worker has taken it yet.
    assert isinstance(play.lane.next_event(), TrialEnded)
    play.lane.take(TINY, "grid")
    play.hears(exhausted())
    play.lane.stop_trial()
    assert [row["state"] for row in play.recorder.rows] == ["STOPPED", "OUT_OF_MEMORY", "STOPPED"]


def test_a_group_that_hangs_is_killed_and_its_trial_goes_on_in_another(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    def look() -> float:
        now[0] += 100.0
        return now[0]

    monkeypatch.setattr("cluster.lanes.lane.time", SimpleNamespace(monotonic=look))
    play = Play()
    play.board.computed = 7
    assert isinstance(play.hears(began_at=3), AttemptLost)
    [lost] = play.recorder.rows
    assert (lost["state"], lost["error"]) == (
        "LOST",
        "its workers went away before it ended (TimeoutError: nothing was computed for 1000 s)",
    )
    assert [group.alive for group in play.groups] == [False, True]


def test_a_group_that_hangs_before_its_first_beat_is_killed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    def look() -> float:
        now[0] += 100.0
        return now[0]

    monkeypatch.setattr("cluster.lanes.lane.time", SimpleNamespace(monotonic=look))
    play = Play(cpus_per_worker=1.0, gpus_per_worker=0.0)
    # Rank 0 has the trial, and then there is nothing of it any more: as where a card never answers.
    assert isinstance(play.hears(Taken(HERE)), AttemptLost)
    [lost] = play.recorder.rows
    assert lost["state"] == "LOST"
    assert "nothing was computed for" in lost["error"]
    assert [group.alive for group in play.groups] == [False, True]


def test_what_a_group_reported_before_it_ended_is_heard_before_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    # It ends just after the board answered that there is nothing, as for a lane whose machine stood still meanwhile.
    # A group that has ended reports nothing more, so the second time the lane does not wait.
    play = Play(cpus_per_worker=1.0)

    def hear(group: str) -> list[WorkerReport]:
        play.groups[0].alive = False
        return []

    monkeypatch.setattr(play.board, "hear", hear)
    monkeypatch.setattr(play.board, "heard", lambda group: [Taken(HERE)])
    assert isinstance(play.lane.next_event(), AttemptLost)
    assert play.recorder.rows[0]["node_type"] == HERE.node_type


def test_a_lane_that_rests_for_long_gives_its_machines_back_and_has_others_for_the_next_trial() -> None:
    rests: list[float | None] = []

    def rest(releases: int, timeout_seconds: float | None = None) -> bool:
        rests.append(timeout_seconds)
        return timeout_seconds is None

    play = Play()
    resting = LaneTrainable.__new__(LaneTrainable)
    resting._board = SimpleNamespace(rest=rest)
    resting._lane, resting._rest = play.lane, 0
    assert resting.step() == {"done": True}
    assert rests == [SECONDS_OF_WARM_REST, None]
    assert [group.alive for group in play.groups] == [False]
    play.lane.take(TINY, "grid")
    play.hears(TakenBack(State.CANCELLED))
    assert [group.alive for group in play.groups] == [False, True]
