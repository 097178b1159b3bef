"""Mistakes that a maintainer could make, planted in the product by a test: each breaks an invariant in some seed."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from cluster.drive import ends
from cluster.drive.opening import Opened
from cluster.lanes import ledger, pulse, recovery
from cluster.lanes import schedule as schedules
from cluster.lanes.attempt import Attempt
from cluster.lanes.board import Board
from cluster.lanes.events import AttemptExhausted
from cluster.lanes.queue import Queue
from cluster.lanes.schedule import Schedule
from cluster.lanes.tally import Tally
from cluster.study.protocol import Unfolding
from cluster.summary import compact
from cluster.summary.compacted import REPLACES
from cluster.summary.driver import lease
from cluster.summary.driver.lease import Lease
from cluster.summary.encoding import decode, encode
from cluster.summary.store import ConflictError, Summary, _body

Plant = Callable[[pytest.MonkeyPatch], None]


def lease_without_a_look(patch: pytest.MonkeyPatch) -> None:
    """Lease: a holder does not see that another driver has taken over."""
    patch.setattr(Lease, "_is_superseded", lambda self: False)
    patch.setattr(Lease, "lost", lambda self: None)


def lease_watched_too_briefly(patch: pytest.MonkeyPatch) -> None:
    """Lease: a holder counts as dead after a time in which it need not have renewed its lease."""
    patch.setattr(lease, "SECONDS_TO_WATCH", 5.0)


def lost_without_a_row(patch: pytest.MonkeyPatch) -> None:
    """Resume: attempts that a killed driver left get no row."""
    patch.setattr(Opened, "write_lost", lambda self, error="": None)


def answers_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Resume: the queue suggests trials that have an answer already."""
    patch.setattr(Unfolding, "is_answered", lambda self, trial: False)


def attempts_from_one(patch: pytest.MonkeyPatch) -> None:
    """Attempts: every attempt is the first."""
    patch.setattr(Summary, "next_attempt", lambda self, study, trial_id: 1)


def last_part_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Attempts: the evaluations since the last part are not written at the end."""
    patch.setattr(Attempt, "_write_evaluations", lambda self: None)


def row_before_its_evaluations(patch: pytest.MonkeyPatch) -> None:
    """Attempts: the row is written before the last evaluations, which a death in between loses."""
    write, part = Attempt._write, Attempt._write_evaluations

    def row_first(self: Attempt, *arguments: Any) -> None:
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(self, "_write_evaluations", lambda: None)
            write(self, *arguments)
        part(self)

    patch.setattr(Attempt, "_write", row_first)


def rows_that_change(patch: pytest.MonkeyPatch) -> None:
    """Store: a row is written whether there is one or not."""
    patch.setattr(Summary, "_write_once", lambda self, key, table: self.store.write(key, _body(table)))


def own_object_a_conflict(patch: pytest.MonkeyPatch) -> None:
    """Store: an object that is there already is a conflict, even if an answer was lost and it is the same."""

    def write_once(self: Summary, key: str, table: Any) -> None:
        if self.store.create(key, _body(table)) is not None:
            raise ConflictError(key)

    patch.setattr(Summary, "_write_once", write_once)


def hanging_unnoticed(patch: pytest.MonkeyPatch) -> None:
    """Lane recovery: a group that hangs is never noticed."""
    patch.setattr(pulse, "hangs", lambda *_, **__: False)


def exhausted_without_end(patch: pytest.MonkeyPatch) -> None:
    """Lane recovery: running out of memory always tries the same rows again."""
    patch.setattr(recovery, "_exhausted", _same_rows_again)


def _same_rows_again(course: recovery.Course, failure: Any, beats: Sequence[Any]) -> recovery.Step:
    row = recovery.WriteBreak(failure, shrink_to=course.rows.micro_batch)
    exhausted = recovery.Tell(AttemptExhausted(trial=course.trial))
    return replace(course, closed=True), (row, recovery.CloseGroup(), exhausted, recovery.BeginAgain())


def lost_without_its_cost(patch: pytest.MonkeyPatch) -> None:
    """Lane recovery: the row of a lost attempt is left to the driver, but the lane says what it has cost."""
    lost = recovery._lost

    def without_row(*arguments: Any) -> recovery.Step:
        course, instructions = lost(*arguments)
        return course, tuple(one for one in instructions if not isinstance(one, recovery.WriteBreak))

    patch.setattr(recovery, "_lost", without_row)


def limits_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Board: the lanes do not hear which micro-batches fit."""

    async def largest(self: Board, kind: str) -> None:
        """Nothing is known."""

    patch.setattr(Board, "largest", largest)


def rest_without_end(patch: pytest.MonkeyPatch) -> None:
    """Queue: resting lanes are not released when a phase begins."""
    patch.setattr(Queue, "_go_on", lambda self: None)


def trials_given_twice(patch: pytest.MonkeyPatch) -> None:
    """Queue: when a plan unfolds, trials that were given already line up again."""

    def line_up(self: Queue) -> None:
        self._waiting = type(self._waiting)(self._unfolding.plan.trials)

    patch.setattr(Queue, "_line_up", line_up)


def cancel_unheard(patch: pytest.MonkeyPatch) -> None:
    """Signals: a stop asks nobody to save and end."""
    patch.setattr(Schedule, "cancel", lambda self: None)


def breaker_that_holds(patch: pytest.MonkeyPatch) -> None:
    """Breaker: trials are begun although none can succeed."""
    patch.setattr(schedules, "cause", lambda ended: None)


def billed_while_waiting(patch: pytest.MonkeyPatch) -> None:
    """Ledger: an attempt is billed from its start, not from when its workers were there."""
    real = ledger.cost_usd

    def from_start(settings: Any, station: Any, *rest: Any) -> float | None:
        return real(settings, station and replace(station, ready_at=0.0), *rest)

    patch.setattr(ledger, "cost_usd", from_start)


def one_worker_billed(patch: pytest.MonkeyPatch) -> None:
    """Ledger: only rank 0 is billed."""
    real = ledger.cost_usd
    patch.setattr(ledger, "cost_usd", lambda settings, station, workers, *times: real(settings, station, 1, *times))


def bill_counts_twice(patch: pytest.MonkeyPatch) -> None:
    """Bill: an attempt that has ended also counts as running."""
    note = Tally.note

    def kept(self: Tally, event: Any) -> None:
        before = dict(self._running_usd)
        note(self, event)
        self._running_usd |= before

    patch.setattr(Tally, "note", kept)


def budget_inverted(patch: pytest.MonkeyPatch) -> None:
    """Budget: a run ends while money is left."""
    real = ends.spent_out

    def spent_out(spending: Any, *, seconds: float, usd: float | None) -> str | None:
        return real(spending, seconds=seconds, usd=None if usd is None else 1 / (usd + 1e-9))

    patch.setattr(ends, "spent_out", spent_out)


def deleted_before_published(patch: pytest.MonkeyPatch) -> None:
    """Compaction: the small objects are deleted before the one that replaces them is there."""
    publish = compact.publish

    def late(store: Any, name: str, body: bytes) -> None:
        folder = name.rpartition("/")[0]
        for small in json.loads(decode(body).metadata(REPLACES) or b"[]"):
            store.delete(f"{folder}/{small}")
        publish(store, name, body)

    patch.setattr(compact, "publish", late)


def replaced_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Compaction: the new object does not name what it replaces."""
    patch.setattr(compact, "encode", lambda rows, metadata: encode(rows, {REPLACES: "[]"}))


PLANTED: dict[str, Plant] = {
    plant.__name__: plant
    for plant in (
        lease_without_a_look,
        lease_watched_too_briefly,
        lost_without_a_row,
        answers_forgotten,
        attempts_from_one,
        last_part_forgotten,
        row_before_its_evaluations,
        rows_that_change,
        own_object_a_conflict,
        hanging_unnoticed,
        exhausted_without_end,
        lost_without_its_cost,
        limits_forgotten,
        rest_without_end,
        trials_given_twice,
        cancel_unheard,
        breaker_that_holds,
        billed_while_waiting,
        one_worker_billed,
        bill_counts_twice,
        budget_inverted,
        deleted_before_published,
        replaced_forgotten,
    )
}
