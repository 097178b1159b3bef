"""A schedule without lanes: a test tells it what became of trials, and sees what it asked of the board."""

from types import SimpleNamespace
from typing import Any

import pytest

from cluster.lanes import schedule as schedules
from cluster.lanes.events import TrialEvent
from cluster.lanes.schedule import Schedule
from cluster.study.protocol import Unfolding, Wanted


class Board:
    """A handle of a board, on which every call is noted."""

    def __init__(self) -> None:
        self.stopped: list[Any] = []
        self.releases = 0
        self.stop = SimpleNamespace(remote=self.stopped.append)
        self.release = SimpleNamespace(remote=self._release)

    def _release(self) -> None:
        self.releases += 1


def schedule() -> tuple[Schedule, Board, list[TrialEvent]]:
    """The schedule, its board, and the events that it passes on."""
    board, events = Board(), list[TrialEvent]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schedules, "_tuner", lambda *_: None)
        found = Schedule(
            Unfolding(lambda losses: Wanted((), open=True), {}),
            lanes=1,
            settings=SimpleNamespace(board=board),  # type: ignore[arg-type]
            stop_early=False,
            begins=lambda plan: None,
            watch=events.append,
        )
    return found, board, events
