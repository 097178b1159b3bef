"""A schedule that is left: Tune's thread ends at its next step, before Ray is shut down under it."""

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from cluster.lanes import schedule as schedules
from cluster.lanes.schedule import LeftError, Schedule
from cluster.study.protocol import Unfolding, Wanted
from tests.support.unlaned import Board


class Tuner:
    """Steps as Tune does, without trials, until a callback ends it."""

    def __init__(self, watcher: Any) -> None:
        self.watcher, self.steps, self.ended_by = watcher, 0, list[type[BaseException]]()

    def fit(self) -> None:
        pause = threading.Event()
        try:
            while True:
                self.steps += 1
                self.watcher.on_step_begin(iteration=self.steps, trials=[])
                pause.wait(0.01)
        except BaseException as problem:
            self.ended_by.append(type(problem))
            raise


def test_who_leaves_waits_for_the_end_of_tunes_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Tuner] = []
    monkeypatch.setattr(schedules, "_tuner", lambda *settings: made.append(Tuner(settings[-1])) or made[-1])
    schedule = Schedule(
        Unfolding(lambda losses: Wanted((), open=True), {}),
        lanes=1,
        settings=SimpleNamespace(board=Board()),  # type: ignore[arg-type]
        stop_early=False,
        begins=lambda plan: None,
        watch=lambda event: None,
    )
    schedule.start()
    assert not schedule.wait(0.1)
    schedule.leave()
    steps = made[0].steps
    assert made[0].ended_by == [LeftError]
    assert steps > 1
    threading.Event().wait(0.05)
    assert made[0].steps == steps
