"""Faults that a test plants in the product, each of which some seed must find."""

from collections.abc import Callable
from typing import Any

import pytest

from cluster.drive.opening import Opened
from cluster.lanes import pulse
from cluster.lanes.attempt import Attempt
from cluster.lanes.board import Board
from cluster.lanes.schedule import Schedule
from cluster.summary.driver.lease import Lease
from cluster.summary.store import Summary
from tests.simulation.bucket import Bucket

Plant = Callable[[pytest.MonkeyPatch], None]


def _lease_without_a_look(patch: pytest.MonkeyPatch) -> None:
    """A holder does not see that another driver has taken over."""
    patch.setattr(Lease, "_is_superseded", lambda self: False)
    patch.setattr(Lease, "lost", lambda self: None)


def _no_lost_rows(patch: pytest.MonkeyPatch) -> None:
    """Attempts that a killed driver left get no row."""
    patch.setattr(Opened, "write_lost", lambda self, error="": None)


def _attempts_from_one(patch: pytest.MonkeyPatch) -> None:
    """Every attempt is the first."""
    patch.setattr(Summary, "next_attempt", lambda self, study, trial_id: 1)


def _rows_that_change(patch: pytest.MonkeyPatch) -> None:
    """What is written only once is written again."""

    def create(self: Bucket, name: str, content: bytes) -> None:
        self.write(name, content)

    patch.setattr(Bucket, "create", create)


def _last_part_forgotten(patch: pytest.MonkeyPatch) -> None:
    """The evaluations since the last part are not written at the end."""
    patch.setattr(Attempt, "_write_evaluations", lambda self: None)


def _no_pulse(patch: pytest.MonkeyPatch) -> None:
    """A group that hangs is never noticed."""
    patch.setattr(pulse, "hangs", lambda *_, **__: False)


def _late_reports_count(patch: pytest.MonkeyPatch) -> None:
    """A new assignment keeps the reports on the one before."""
    post = Board.post

    async def keeping(self: Board, group: str, assignment: Any) -> None:
        before = self._group(group).reports
        await post(self, group, assignment)
        self._group(group).reports = [*before, *self._group(group).reports]

    patch.setattr(Board, "post", keeping)


def _no_cancel(patch: pytest.MonkeyPatch) -> None:
    """A stop asks nobody to save and end."""
    patch.setattr(Schedule, "cancel", lambda self: None)


PLANTED: dict[str, Plant] = {
    plant.__name__.strip("_"): plant
    for plant in (
        _lease_without_a_look,
        _no_lost_rows,
        _attempts_from_one,
        _rows_that_change,
        _last_part_forgotten,
        _no_pulse,
        _late_reports_count,
        _no_cancel,
    )
}
