"""A lane: a Tune trainable that keeps one Ray Train worker group warm and gives it trial after trial.

Why not one `TensorflowTrainer.fit()` a trial, the documented pattern: that starts four to five Python processes a
trial and imports TensorFlow again in each, 17-21 s for 1 s of training on two cores. Tune reuses the actor of this
class (`reuse_actors=True`): the workers, TensorFlow and the traced functions stay.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ray
import ray.train
from ray import tune
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from cluster.lanes.attempt import Attempt, Recorder
from cluster.lanes.backend import CollectiveConfig
from cluster.lanes.board import Job, Taken, TakenBack
from cluster.lanes.worker import Failure, WorkerSettings, work
from trainer.report import Evaluation, Outcome, State
from trainer.trial import TrialSpec, from_dict

SECONDS_BETWEEN_CHECKS = 5.0
# A trial that takes its workers with it again and again would otherwise never end.
ATTEMPTS_AT_MOST = 3


@dataclass(frozen=True, kw_only=True)
class LaneSettings:
    """What all lanes of a study have in common. `micro_batches` gives the rows for each global batch."""

    study: str
    board: Any
    recorder: Recorder
    data: str
    checkpoints: str
    checkpoint_every_seconds: float
    workers: int
    cpus_per_worker: float
    gpus_per_worker: float
    threads: int
    micro_batches: Mapping[int, int]
    facts: Mapping[str, Any]
    storage: str


class Lane(tune.Trainable):
    """One warm worker group; each Tune trial is a job on the board, each report of the job a Tune result."""

    def setup(self, config: dict[str, Any], settings: LaneSettings | None = None) -> None:
        """Start the worker group; it is ready when it takes the first job."""
        assert settings is not None
        self._settings = settings
        self._name = f"lane-{self.trial_id}"
        self._serial = 0
        self._problem: BaseException | None = None
        self._attempt: Attempt | None = None
        self._group = threading.Thread(target=self._run_group, daemon=True)
        self._group.start()
        self._begin(from_dict(config["trial"]))

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next trial; one that Tune stopped before its end gets its row first."""
        self._stop_trial()
        self._begin(from_dict(new_config["trial"]))
        return self._problem is None

    def step(self) -> dict[str, Any]:
        """Wait for the next report of the trial's workers."""
        if self._attempt is None:
            self._attempt = self._new_attempt()
            self._post()
        while not self._pending:
            if not self._group.is_alive():
                raise self._end_broken()
            self._pending += [result for event in self._hear() if (result := self._note(event)) is not None]
        return self._pending.pop(0)

    def cleanup(self) -> None:
        """Let the workers end."""
        self._stop_trial()
        ray.get(self._settings.board.close.remote(self._name))
        # Workers that are still starting are not waited for: they end with this actor.
        self._group.join(timeout=5)

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        """Nothing: trials keep their own checkpoints, but Tune asks before it reuses an actor."""
        return {}

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Nothing, as above."""

    def _begin(self, trial: TrialSpec) -> None:
        self._trial = trial
        self._attempt = None
        self._pending: list[dict[str, Any]] = []

    def _new_attempt(self) -> Attempt:
        settings = self._settings
        facts = {
            **settings.facts,
            "workers": settings.workers,
            "micro_batch": settings.micro_batches[self._trial.global_batch],
            "checkpoint_uri": self._checkpoints(),
        }
        return Attempt(recorder=settings.recorder, study=settings.study, trial=self._trial, facts=facts)

    def _checkpoints(self) -> str:
        return f"{self._settings.checkpoints}/{self._trial.trial_id}"

    def _post(self) -> None:
        self._serial += 1
        job = Job(
            serial=self._serial,
            trial=self._trial,
            micro_batch=self._settings.micro_batches[self._trial.global_batch],
            checkpoints=self._checkpoints(),
        )
        ray.get(self._settings.board.post.remote(self._name, job))

    def _hear(self) -> list[Any]:
        heard: list[Any] = ray.get(self._settings.board.hear.remote(self._name, SECONDS_BETWEEN_CHECKS))
        return heard

    def _note(self, event: Any) -> dict[str, Any] | None:
        """Write an event to the summary; the result for Tune, if it is one."""
        attempt = self._attempt
        assert attempt is not None
        match event:
            case TakenBack(state=state):
                attempt.broken(Failure(state=state, error="stopped before its workers were ready"))
                return {"done": True, "state": str(state)}
            case Taken(taking=1):
                return None
            case Taken(taking=taking):
                return self._taken_again(taking)
            case Evaluation():
                attempt.evaluated(event)
                return {"examples": event.examples, "validation_loss": event.validation_loss}
            case Failure():
                attempt.broken(event)
                return {"done": True, "state": str(event.state)}
            case (Outcome() as outcome, machine):
                attempt.ended(outcome, machine)
                score = {"examples": outcome.examples, "validation_loss": outcome.best_validation_loss}
                return {"done": True, "state": str(outcome.state), **score}
        raise AssertionError(f"nobody tells {event!r}")

    def _taken_again(self, taking: int) -> dict[str, Any] | None:
        """New workers took the trial up again: the attempt before is lost, another begins."""
        assert self._attempt is not None
        self._attempt.lost()
        if taking <= ATTEMPTS_AT_MOST:
            self._attempt = self._new_attempt()
            return None
        error = f"its workers went away {ATTEMPTS_AT_MOST} times: see the lane's log"
        self._attempt = self._new_attempt()
        self._attempt.broken(Failure(state=State.FAILED, error=error))
        ray.get(self._settings.board.stop.remote(State.STOPPED, self._name))
        return {"done": True, "state": str(State.FAILED)}

    def _stop_trial(self) -> None:
        """If the trial has not ended, end it: STOPPED, unless the study is being cancelled."""
        if self._attempt is None or self._attempt.over:
            return
        ray.get(self._settings.board.stop.remote(State.STOPPED, self._name))
        while not self._attempt.over and self._group.is_alive():
            for event in self._hear():
                self._note(event)

    def _end_broken(self) -> BaseException:
        """The row of a trial whose worker group cannot be kept up, and the error for Tune."""
        problem = self._problem or RuntimeError("the lane's workers ended")
        if self._attempt is not None and not self._attempt.over:
            text = f"{type(problem).__name__}: {problem}".split("\n", 1)[0]
            self._attempt.broken(Failure(state=State.FAILED, error=text))
        return problem

    def _run_group(self) -> None:
        """One Ray Train run for the lane's whole life; Train replaces workers that are lost."""
        settings = self._settings
        worker_settings = WorkerSettings(
            board=settings.board,
            lane=self._name,
            data=settings.data,
            threads=settings.threads,
            checkpoint_every_seconds=settings.checkpoint_every_seconds,
        )
        trainer = DataParallelTrainer(
            work,
            train_loop_config={"settings": worker_settings},
            backend_config=CollectiveConfig(),
            scaling_config=ray.train.ScalingConfig(
                num_workers=settings.workers,
                use_gpu=settings.gpus_per_worker > 0,
                resources_per_worker=_resources(settings),
            ),
            run_config=ray.train.RunConfig(
                name=self._name,
                storage_path=settings.storage,
                failure_config=ray.train.FailureConfig(max_failures=1000),
            ),
        )
        try:
            trainer.fit()
        except BaseException as problem:  # noqa: BLE001 - raised again by `step`, in the thread that Tune hears
            self._problem = problem


def _resources(settings: LaneSettings) -> dict[str, float]:
    wanted = {"CPU": settings.cpus_per_worker, "GPU": settings.gpus_per_worker}
    return {name: amount for name, amount in wanted.items() if amount}
