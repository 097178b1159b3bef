"""A lane whose group runs out of memory: one row for the attempt, and the next with half the rows on another group."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

import pytest

from cluster.lanes import lane as lanes
from cluster.lanes.board import Beat, Board
from cluster.lanes.failure import Failure
from cluster.lanes.settings import LaneSettings
from cluster.study.at_once import RowsAtOnce
from tests.unit.lanes.test_board import HERE, TRIAL
from trainer.report import State


class Near:
    """An actor's handle without Ray: `ray.get` of what a call gives is what it gives."""

    def __init__(self, actor: Any) -> None:
        self._actor, self._loop = actor, asyncio.new_event_loop()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._actor, name)
        call = SimpleNamespace()
        call.remote = lambda *values, **named: self._loop.run_until_complete(method(*values, **named))
        return call


class Group:
    """A group whose workers are the test itself."""

    def __init__(self, settings: LaneSettings, *, name: str, workers: int) -> None:
        self.name, self.workers, self.alive, self.problem = name, workers, True, None

    def close(self, *, seconds: float = 0.0) -> None:
        self.alive = False


class Recorder:
    """Keeps the rows of attempts."""

    def __init__(self) -> None:
        self.rows: list[Mapping[str, Any]] = []
        self.begun = 0

    def next_attempt(self, study: str, trial_id: str) -> int:
        return self.begun + 1

    def attempt_started(self, study: str, trial_id: str, attempt: int, fields: Mapping[str, Any]) -> None:
        self.begun = attempt

    def write_evaluations(self, rows: Sequence[Mapping[str, Any]], *, part: int) -> None:
        raise AssertionError("nothing was evaluated")

    def write_trial(self, row: Mapping[str, Any]) -> None:
        self.rows.append(row)


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a lane that begins with some rows, on a board that tests can reach."""
    monkeypatch.setattr(lanes.ray, "get", lambda value: value)
    monkeypatch.setattr(lanes, "Group", Group)
    monkeypatch.setattr(lanes, "workers_that_fit", lambda settings, wanted: wanted)
    monkeypatch.setattr(lanes.Lane, "trial_id", "t")

    def begin(rows: RowsAtOnce) -> Any:
        lane = object.__new__(lanes.Lane)
        nothing: dict[str, Any] = dict.fromkeys(LaneSettings.__dataclass_fields__)
        some = {
            "board": Near(Board(dict)),
            "recorder": Recorder(),
            "study": "s",
            "workers": {17: 2},
            "micro_batches": {17: min(9, rows.micro_batch)},
            "rows_at_once": {"float32": rows},
            "facts": {},
        }
        lane.setup({"trial": asdict(TRIAL), "phase": "grid"}, LaneSettings(**nothing | some))
        lane._start_attempt()
        return lane

    return begin


def out_of_memory(lane: Any, *, rank: int = 1, **more: Any) -> Any:
    """What the lane makes of the word of one of its workers."""
    board, group = lane._settings.board, lane._group.name
    board.take.remote(group, rank, 0, HERE)
    board.tell.remote(group, Failure(state=State.OUT_OF_MEMORY, error="short", **more), last=True)
    return lane.step()


def test_the_trial_goes_on_in_half_the_rows_on_another_group_until_there_is_one_row(begun: Any) -> None:
    lane = begun(RowsAtOnce(micro_batch=8, evaluation=64))
    rows, groups, results = lane._settings.recorder.rows, [], []
    while not results or not results[-1].get("done"):
        groups.append(lane._group)
        results.append(out_of_memory(lane))
    assert [(row["state"], row["micro_batch"], row["micro_batch_next"]) for row in rows] == [
        ("OUT_OF_MEMORY", 8, 4),
        ("OUT_OF_MEMORY", 4, 2),
        ("OUT_OF_MEMORY", 2, 1),
        ("OUT_OF_MEMORY", 1, None),
    ]
    assert [row["attempt"] for row in rows] == [1, 2, 3, 4]
    assert [result.get("halved", False) for result in results] == [True, True, True, False]
    assert results[-1]["state"] == "OUT_OF_MEMORY"
    # A group that ran out of memory is never used again.
    assert len({group.name for group in groups}) == 4
    assert not any(group.alive for group in groups)


def test_all_workers_of_the_next_group_get_the_same_smaller_job(begun: Any) -> None:
    lane = begun(RowsAtOnce(micro_batch=8, evaluation=64))
    out_of_memory(lane)
    board, group = lane._settings.board, lane._group.name
    jobs = [board.take.remote(group, rank, 0, HERE) for rank in (0, 1)]
    assert jobs[0] == jobs[1]
    assert jobs[0].trial == TRIAL
    assert (jobs[0].micro_batch, jobs[0].rows_at_once.evaluation) == (4, 32)
    assert jobs[0].checkpoints.endswith(TRIAL.trial_id)


def test_in_single_rows_it_goes_on_as_long_as_each_attempt_begins_further_on(begun: Any) -> None:
    lane = begun(RowsAtOnce(micro_batch=1, evaluation=8))
    for update in (0, 40, 40):
        lane._settings.board.beat.remote(lane._group.name, 1, Beat(update=update, seconds_training=1.0))
        result = out_of_memory(lane)
    assert result["done"]
    assert [row["micro_batch_next"] for row in lane._settings.recorder.rows] == [1, 1, None]


@pytest.mark.parametrize(
    ("rows", "more"),
    [
        (RowsAtOnce(micro_batch=8, evaluation=64, shrinks=False), {}),
        (RowsAtOnce(micro_batch=8, evaluation=64), {"smaller_helps": False}),
    ],
)
def test_where_nothing_smaller_may_be_tried_it_is_the_answer(
    begun: Any, rows: RowsAtOnce, more: dict[str, Any]
) -> None:
    lane = begun(rows)
    assert out_of_memory(lane, **more)["done"]
    [row] = lane._settings.recorder.rows
    assert (row["state"], row["micro_batch"], row["micro_batch_next"]) == ("OUT_OF_MEMORY", 8, None)
    assert not lane._group.alive


def test_wrong_data_end_the_trial_in_a_row_that_says_so_and_the_study_hears_of_it(begun: Any) -> None:
    lane = begun(RowsAtOnce(micro_batch=8, evaluation=64))
    board, group = lane._settings.board, lane._group.name
    board.take.remote(group, 1, 0, HERE)
    board.tell.remote(group, Failure(state=State.FAILED, error="other data", wrong_data=True), last=True)
    result = lane.step()
    assert (result["done"], result["state"], result["wrong_data"]) == (True, "FAILED", "other data")
    [row] = lane._settings.recorder.rows
    assert (row["state"], row["error"]) == ("FAILED", "other data")
    assert not lane._group.alive


def test_a_process_that_ended_without_a_word_is_judged_by_what_it_wrote(
    begun: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    signs = iter(["what():  std::bad_alloc", None])
    monkeypatch.setattr(lanes, "sign_of_exhaustion", lambda stations: next(signs))
    lane = begun(RowsAtOnce(micro_batch=8, evaluation=64))
    object.__setattr__(lane._settings, "memory_bytes", 2**30)
    for _ in range(2):
        lane._group.alive, lane._group.problem = False, RuntimeError("gone")
        lane._settings.board.take.remote(lane._group.name, 1, 0, HERE)
        lane.step()
    rows = lane._settings.recorder.rows
    assert [(row["state"], row["micro_batch"], row["micro_batch_next"]) for row in rows] == [
        ("OUT_OF_MEMORY", 8, 4),
        ("LOST", 4, None),
    ]
    assert "std::bad_alloc" in rows[0]["error"]
