"""A lane: a Tune trainable that keeps one worker group warm and gives it trial after trial.

Why not one `TensorflowTrainer.fit()` a trial, the documented pattern: that starts four to five Python processes a
trial and imports TensorFlow again in each, 17-21 s for 1 s of training on two cores. Tune reuses the actor of this
class (`reuse_actors=True`): the workers, TensorFlow and the traced functions stay.

A group that loses a worker, a machine or all of them ends; its attempt is LOST, and the trial goes on in another
attempt, from its last checkpoint, on a new group of as many workers as there is room for. Of a group in which one
worker ran out of memory the attempt is OUT_OF_MEMORY, and the trial goes on likewise, in micro-batches of half the
rows, as do all trials of its dtype in the study from then on: TensorFlow gives memory back only when its process ends.
"""

from dataclasses import replace
from typing import Any

import ray
from ray import tune

from cluster.lanes.attempt import Attempt
from cluster.lanes.board import Beat, Job, Taken, TakenBack
from cluster.lanes.exhaustion import sign_of_exhaustion
from cluster.lanes.failure import Failure
from cluster.lanes.group import Group, workers_that_fit
from cluster.lanes.queue import REST
from cluster.lanes.settings import LaneSettings
from trainer.errors import UserError
from trainer.report import Evaluation, Outcome, State
from trainer.trial import from_dict

SECONDS_BETWEEN_CHECKS = 2.0
# What a group that is to make room for another may take to end.
SECONDS_TO_GO = 60.0
# A trial that takes its workers with it again and again, without a new checkpoint in between, would never end.
FRUITLESS_AT_MOST = 2
EARLY = "stopped early: at equal examples it was worse than other learning rates of its global batch"


class Lane(tune.Trainable):
    """One warm worker group; each Tune trial is a job on the board, each report of the job a Tune result."""

    def setup(self, config: dict[str, Any], settings: LaneSettings | None = None) -> None:
        """Start the worker group; it is ready when it takes the first job."""
        assert settings is not None
        self._settings = settings
        self._groups = self._serial = 0
        self._attempt: Attempt | None = None
        self._begin(config)
        self._group = self._new_group(self._wanted())

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next trial; one that Tune stopped before its end gets its row first."""
        self._stop_trial()
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Wait for the next report of the trial's workers; a rest ends when the queue knows more."""
        try:
            return self._step()
        except UserError as problem:
            return self._gave_way(str(problem))
        except ray.exceptions.RayActorError as problem:
            return self._gave_way(f"the study's board, a process of Ray on the head, has ended ({_line(problem)})")

    def _step(self) -> dict[str, Any]:
        if self._rest is not None:
            ray.get(self._settings.board.rest.remote(self._rest))
            return {"done": True}
        if self._attempt is None:
            self._make_group_fit()
            self._start_attempt()
        while not self._pending:
            self._pending += [result for event in self._hear() if (result := self._note(event)) is not None]
            if not self._pending and not self._group.alive:
                self._after_loss()
        return self._pending.pop(0)

    def cleanup(self) -> None:
        """Let the workers end."""
        self._stop_trial()
        self._group.close()

    def _gave_way(self, error: str) -> dict[str, Any]:
        """What the lane stands on failed. The attempt has no row: the driver writes it, if the summary can be used."""
        self._attempt = None
        self._pending.clear()
        self._group.close(seconds=SECONDS_TO_GO)
        return {"done": True, "state": str(State.FAILED), "problem": error, "surroundings": True}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        """Nothing: trials keep their own checkpoints, but Tune asks before it reuses an actor."""
        return {}

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Nothing, as above."""

    def _begin(self, config: dict[str, Any]) -> None:
        self._trial = from_dict(config["trial"])
        self._phase: str = config["phase"]
        self._rest: int | None = config.get(REST)
        self._attempt = None
        self._stopping = False
        self._pending: list[dict[str, Any]] = []
        self._fruitless = 0
        self._began_at_update = -1
        self._reached: Beat | None = None

    def _wanted(self) -> int:
        return self._settings.workers[self._trial.global_batch]

    def _new_group(self, workers: int) -> Group:
        self._groups += 1
        self._serial = 0
        return Group(self._settings, name=f"lane-{self.trial_id}-{self._groups}", workers=workers)

    def _make_group_fit(self) -> None:
        """A trial of another number of workers needs another group, and so does a lane whose group has ended."""
        if self._group.alive and self._group.workers == self._wanted():
            return
        self._group.close(seconds=SECONDS_TO_GO)
        self._group = self._new_group(self._wanted())

    def _start_attempt(self) -> None:
        settings = self._settings
        largest = ray.get(settings.board.largest.remote(self._trial.dtype))
        self._rows_at_once = settings.rows_at_once[self._trial.dtype].within(largest)
        micro_batch = min(settings.micro_batches[self._trial.global_batch], self._rows_at_once.micro_batch)
        self._attempt = Attempt(
            settings=settings,
            trial=self._trial,
            phase=self._phase,
            workers=self._group.workers,
            micro_batch=micro_batch,
            checkpoint_uri=self._checkpoints(),
            reached=self._reached,
        )
        self._serial += 1
        job = Job(
            serial=self._serial,
            trial=self._trial,
            micro_batch=micro_batch,
            rows_at_once=self._rows_at_once,
            checkpoints=self._checkpoints(),
        )
        ray.get(settings.board.post.remote(self._group.name, job))

    def _checkpoints(self) -> str:
        return f"{self._settings.checkpoints}/{self._trial.trial_id}"

    def _hear(self) -> list[Any]:
        heard: list[Any] = ray.get(self._settings.board.hear.remote(self._group.name, SECONDS_BETWEEN_CHECKS))
        return heard

    def _note(self, event: Any) -> dict[str, Any] | None:
        """Write an event to the summary; the result for Tune, if it is one."""
        attempt = self._attempt
        assert attempt is not None
        match event:
            case TakenBack(state=state):
                attempt.broken(Failure(state=state, error="stopped before its workers were ready"))
                return self._ended(state)
            case Taken(station=station):
                attempt.taken(station)
                return None
            case Evaluation():
                attempt.evaluated(event)
                return {
                    "examples": event.examples,
                    "validation_loss": event.validation_loss,
                    "cost_usd": attempt.cost_usd(),
                }
            case Failure(state=State.OUT_OF_MEMORY):
                self._after_out_of_memory(event)
                return None
            case Failure():
                beats = self._beats()
                attempt.broken(event, *beats)
                self._group.close(seconds=SECONDS_TO_GO)
                updates = beats[-1].update - beats[0].update if beats else 0
                said = {"problem": event.error, "surroundings": event.surroundings, "updates": updates}
                wrong_data = {"wrong_data": event.error} if event.wrong_data else {}
                return self._ended(event.state) | said | {"refused": event.refused} | wrong_data
            case (Outcome(state=State.LOST) as outcome, machine):
                attempt.ended(outcome, machine, *self._beats(), error="its machine was called back; it saved first")
                self._after_loss()
                return None
            case (Outcome() as outcome, machine):
                if self._stopping and outcome.state is State.COMPLETED:
                    # It came to its end before it heard; the protocol has gone on without it all the same, and must
                    # do so again when the study is resumed.
                    outcome = replace(outcome, state=State.STOPPED)
                error = EARLY if outcome.state is State.STOPPED else None
                attempt.ended(outcome, machine, *self._beats(), error=error)
                score = {"examples": outcome.examples, "validation_loss": outcome.best_validation_loss}
                return self._ended(outcome.state) | score
        raise AssertionError(f"nobody tells {event!r}")

    def _ended(self, state: State) -> dict[str, Any]:
        assert self._attempt is not None
        return {"done": True, "state": str(state), "cost_usd": self._attempt.cost_usd()}

    def _beats(self) -> list[Beat]:
        beats: list[Beat] = ray.get(self._settings.board.beats.remote(self._group.name))
        return beats

    def _after_loss(self) -> None:
        """The group ended under the trial: close the attempt, and begin another on the workers there are."""
        assert self._attempt is not None
        if not self._attempt.over and (failure := self._ran_out_of_memory()):
            self._after_out_of_memory(failure)
            return
        beats = self._beats()
        began = beats[0].update if beats else self._began_at_update
        self._fruitless = 0 if began > self._began_at_update else self._fruitless + 1
        self._began_at_update = began
        self._reached = beats[-1] if beats else self._reached
        give_up = self._fruitless >= FRUITLESS_AT_MOST
        loss = _loss(self._group.problem, give_up=give_up)
        if not self._attempt.over:
            self._attempt.broken(loss, *beats)
        if give_up:
            self._group.close(seconds=SECONDS_TO_GO)
            self._pending.append(self._ended(State.FAILED) | {"problem": loss.error, "updates": max(0, began)})
        else:
            self._go_on("lost")

    def _after_out_of_memory(self, failure: Failure) -> None:
        """A worker ran out of memory: close the attempt, and begin another with half the rows, if there are any."""
        assert self._attempt is not None
        beats, board = self._beats(), self._settings.board
        self._reached = beats[-1] if beats else self._reached
        began = beats[0].update if beats else self._began_at_update
        rows = self._rows_at_once
        half = rows.half() if failure.smaller_helps else None
        if half is None and rows.shrinks and began > self._began_at_update:
            # What was compiled for each shape stays in a process while it lives: the next one may hold the rest.
            half = rows.micro_batch
        self._began_at_update = began
        if half is not None:
            half = ray.get(board.shrink.remote(self._trial.dtype, half))
        self._attempt.broken(failure, *beats, micro_batch_next=half)
        if half is None:
            self._group.close(seconds=SECONDS_TO_GO)
            self._pending.append(self._ended(State.OUT_OF_MEMORY))
        elif not self._stopping:
            self._go_on("halved")

    def _ran_out_of_memory(self) -> Failure | None:
        """The failure of a worker that was ended for want of memory before it could tell, if one was."""
        failures = getattr(self._group.problem, "worker_failures", None) or {}
        killed = [one for one in failures.values() if isinstance(one, ray.exceptions.OutOfMemoryError)]
        if killed:
            return Failure(state=State.OUT_OF_MEMORY, error=_line(killed[0]))
        if self._settings.memory_bytes is None or self._group.problem is None:
            return None
        sign = sign_of_exhaustion(ray.get(self._settings.board.stations.remote(self._group.name)))
        if sign is None:
            return None
        return Failure(state=State.OUT_OF_MEMORY, error=f"a worker's process ended: {sign[:300]}")

    def _go_on(self, why: str) -> None:
        """The trial goes on in another attempt, on a new group."""
        assert self._attempt is not None
        self._group.close(seconds=SECONDS_TO_GO)
        self._pending.append({why: True, "cost_usd": self._attempt.cost_usd()})
        self._group = self._new_group(workers_that_fit(self._settings, self._wanted()))
        self._start_attempt()

    def _stop_trial(self) -> None:
        """If the trial has not ended, end it: STOPPED, unless the study is being cancelled."""
        if self._attempt is None or self._attempt.over:
            return
        self._stopping = True
        ray.get(self._settings.board.stop.remote(State.STOPPED, self._group.name))
        while not self._attempt.over and self._group.alive:
            for event in self._hear():
                self._note(event)


def _loss(problem: BaseException | None, *, give_up: bool) -> Failure:
    """What is said of an attempt whose group ended under it."""
    failures = getattr(problem, "worker_failures", None) or {}
    whys = [f"rank {rank}: {_line(failure)}" for rank, failure in sorted(failures.items())]
    reason = f" ({'; '.join(whys or [_line(problem)])})" if problem else ""
    if give_up:
        error = f"its workers went away {FRUITLESS_AT_MOST + 1} times without a new checkpoint{reason}"
        return Failure(state=State.FAILED, error=error)
    return Failure(state=State.LOST, error=f"its workers went away before it ended{reason}")


def _line(problem: BaseException) -> str:
    """The class and the first line of a problem."""
    return f"{type(problem).__name__}: {str(problem).strip()}".split("\n", 1)[0][:300]
