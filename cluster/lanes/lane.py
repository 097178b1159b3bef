"""A lane: one warm worker group that trains trial after trial; `cluster.lanes.recovery` decides what follows a report.

The documented pattern, one `TensorflowTrainer.fit()` per trial, starts four to five Python processes for each trial and
imports TensorFlow again in each: 17-21 s for 1 s of training on two cores. Here the workers, TensorFlow and the traced
functions stay, and a trial is an assignment on the board.

TensorFlow gives memory back only when its process ends, so after a group ran out of memory, the next attempt gets a new
group.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import ray

from cluster.lanes import pulse, recovery
from cluster.lanes.attempt import Attempt
from cluster.lanes.board import Assignment
from cluster.lanes.events import LaneEvent
from cluster.lanes.exhaustion import sign_of_exhaustion
from cluster.lanes.failure import Failure
from cluster.lanes.group import WorkerGroup, workers_that_fit
from cluster.lanes.lane_board import LaneBoard
from cluster.lanes.reports import Beat, Ended, GaveWay, GroupLost, Report
from cluster.lanes.settings import LaneSettings
from cluster.study.at_once import RowsAtOnce
from trainer.errors import UserError
from trainer.report import State
from trainer.trial import TrialSpec

# How long a group that must make room for another may take to end.
SECONDS_TO_GO = 60.0


@dataclass(frozen=True)
class Outside:
    """What a lane does outside of its own process, apart from the board."""

    start_group: Callable[..., WorkerGroup] = WorkerGroup
    wait_for_workers: Callable[[LaneSettings, int], int] = workers_that_fit
    read_sign: Callable[..., str | None] = sign_of_exhaustion


class Lane:
    """A warm worker group and the trial that it is training."""

    def __init__(
        self, settings: LaneSettings, board: LaneBoard, name: str, trial: TrialSpec, outside: Outside | None = None
    ) -> None:
        """Start the worker group for `trial`; the group is ready when it takes the first assignment."""
        self._settings, self._board, self._name = settings, board, name
        self._outside = outside or Outside()
        self._groups = self._serial = 0
        self._attempt: Attempt | None = None
        self._pulse: pulse.Pulse | None = None
        self._taken_at: float | None = None
        self._told: list[LaneEvent] = []
        self._course = recovery.Course(trial=trial, rows=self._rows(trial))
        self._group = self._new_group(self._wanted())

    def take(self, trial: TrialSpec, phase: str) -> None:
        """Take the next trial; it begins with the next call of `next_event`."""
        self._course = recovery.Course(trial=trial, rows=self._rows(trial))
        self._phase = phase
        self._attempt, self._told = None, []

    def next_event(self) -> LaneEvent:
        """Wait for the next event of the trial."""
        try:
            if self._attempt is None:
                self._make_group_fit()
                self._begin_attempt()
            while not self._told:
                self._hear()
        except UserError as problem:
            self._give_way(str(problem))
        except ray.exceptions.RayActorError as problem:
            self._give_way(f"the study's board, a process of Ray on the head, has ended ({_line(problem)})")
        return self._told.pop(0)

    def stop_trial(self) -> None:
        """If the trial has not ended, end it as STOPPED, unless the study is being cancelled."""
        if self._attempt is None or self._course.closed:
            return
        self._course = replace(self._course, stopping=True)
        self._board.stop(self._group.name, State.STOPPED)
        while not self._course.closed and self._group.alive:
            for report in self._board.hear(self._group.name):
                self._take(report)

    def give_back(self) -> None:
        """Let the workers end, until there is another trial."""
        self._group.close(seconds=SECONDS_TO_GO)

    def close(self) -> None:
        """Let the trial and the workers end."""
        self.stop_trial()
        self._group.close()

    def _hear(self) -> None:
        # Looked at first: the board may have reports of a group that ended while this process waited or stood still.
        had_ended = not self._group.alive
        reports = self._board.heard(self._group.name) if had_ended else self._board.hear(self._group.name)
        for report in reports:
            self._take(report)
        if not self._told and had_ended:
            self._take(GroupLost(_reason(self._group.problem), exhausted=self._exhausted()))
        elif not reports:
            self._feel_pulse()

    def _feel_pulse(self) -> None:
        """End a group that hangs: it is lost, and its trial goes on in another."""
        steps, now = self._board.steps(self._group.name), time.monotonic()
        if steps is not None:
            before = self._pulse if self._taken_at is None else None
            self._pulse, self._taken_at = pulse.felt(before, steps, now), None
        elif self._taken_at is not None:
            # Rank 0 has begun, and may hang before its first beat: where its card or its data are opened.
            self._pulse = self._pulse or pulse.Pulse(began_at=self._taken_at, changed_at=self._taken_at)
        if self._pulse is None:
            return
        if pulse.hangs(self._pulse, now, at_least=self._settings.seconds_without_step):
            self._group.kill(f"nothing was computed for {now - self._pulse.changed_at:.0f} s")
            self._pulse = self._taken_at = None

    def _take(self, report: Report) -> None:
        # Asked for only when they are needed, since each call is a message to the board.
        beats = self._board.beats(self._group.name) if isinstance(report, Ended | Failure | GroupLost) else []
        self._course, instructions = recovery.after(self._course, report, beats)
        for instruction in instructions:
            self._do(instruction, beats)

    def _give_way(self, error: str) -> None:
        """End the trial because the board or a store failed; drop earlier events, whose rows may be missing."""
        self._told.clear()
        self._course, instructions = recovery.after(self._course, GaveWay(error))
        for instruction in instructions:
            self._do(instruction, [])

    def _do(self, instruction: recovery.Instruction, beats: Sequence[Beat]) -> None:
        match instruction:
            case recovery.Take(station=station):
                self._current().taken(station)
                self._taken_at = time.monotonic()
            case recovery.Keep(evaluation=evaluation):
                self._current().evaluated(evaluation)
            case recovery.WriteEnd(outcome=outcome, machine=machine, error=error):
                self._current().ended(outcome, machine, *beats, error=error)
            case recovery.WriteBreak(failure=failure, shrink_to=shrink_to):
                fewer = None if shrink_to is None else self._board.shrink(self._course.trial.dtype, shrink_to)
                self._current().broken(failure, *beats, micro_batch_next=fewer)
            case recovery.DropAttempt():
                self._attempt = None
            case recovery.CloseGroup():
                self._group.close(seconds=SECONDS_TO_GO)
            case recovery.BeginAgain():
                self._group = self._new_group(self._outside.wait_for_workers(self._settings, self._wanted()))
                self._begin_attempt()
            case recovery.Tell(event=event):
                cost_usd = self._attempt.cost_usd() if self._attempt else None
                self._told.append(replace(event, cost_usd=cost_usd))

    def _current(self) -> Attempt:
        assert self._attempt is not None
        return self._attempt

    def _wanted(self) -> int:
        return self._settings.workers[self._course.trial.global_batch]

    def _rows(self, trial: TrialSpec) -> RowsAtOnce:
        return self._settings.rows_at_once[trial.dtype]

    def _new_group(self, workers: int) -> WorkerGroup:
        self._groups += 1
        self._serial = 0
        return self._outside.start_group(self._settings, name=f"lane-{self._name}-{self._groups}", workers=workers)

    def _make_group_fit(self) -> None:
        """Replace the group if it has ended, or if the trial needs another number of workers."""
        if self._group.alive and self._group.workers == self._wanted():
            return
        self._group.close(seconds=SECONDS_TO_GO)
        self._group = self._new_group(self._wanted())

    def _begin_attempt(self) -> None:
        settings, trial = self._settings, self._course.trial
        rows = self._rows(trial).within(self._board.largest(trial.dtype))
        micro_batch = min(settings.micro_batches[trial.global_batch], rows.micro_batch)
        checkpoints = f"{settings.checkpoints}/{trial.trial_id}"
        self._course = recovery.begun(self._course, rows)
        self._attempt = Attempt(
            settings=settings,
            trial=trial,
            phase=self._phase,
            workers=self._group.workers,
            micro_batch=micro_batch,
            checkpoint_uri=checkpoints,
            reached=self._course.reached,
        )
        self._pulse = self._taken_at = None
        self._serial += 1
        assignment = Assignment(
            serial=self._serial, trial=trial, micro_batch=micro_batch, rows_at_once=rows, checkpoints=checkpoints
        )
        self._board.post(self._group.name, assignment)

    def _exhausted(self) -> Failure | None:
        """The failure of a worker that ran out of memory and was ended before it could report so, if there is one."""
        problem = self._group.problem
        if self._course.closed or problem is None:
            return None
        failures = getattr(problem, "worker_failures", None) or {}
        killed = [failure for failure in failures.values() if isinstance(failure, ray.exceptions.OutOfMemoryError)]
        if killed:
            return Failure(state=State.OUT_OF_MEMORY, error=_line(killed[0]))
        if self._settings.memory_bytes is None:
            return None
        sign = self._outside.read_sign(self._board.stations(self._group.name))
        if sign is None:
            return None
        return Failure(state=State.OUT_OF_MEMORY, error=f"a worker's process ended: {sign[:300]}")


def _reason(problem: BaseException | None) -> str:
    """Why a group ended, in brackets after a space; empty if that is unknown."""
    if problem is None:
        return ""
    failures = getattr(problem, "worker_failures", None) or {}
    reasons = [f"rank {rank}: {_line(failure)}" for rank, failure in sorted(failures.items())]
    return f" ({'; '.join(reasons or [_line(problem)])})"


def _line(problem: BaseException) -> str:
    """The class and the first line of a problem."""
    return f"{type(problem).__name__}: {str(problem).strip()}".split("\n", 1)[0][:300]
