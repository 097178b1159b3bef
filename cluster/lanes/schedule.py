"""The schedule: Ray Tune gives each lane its next trial until the plan wants no more, or the study is cancelled."""

import os
import re
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import ray
from ray import tune
from ray.tune.execution import class_cache
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from cluster.lanes.breaker import Cause, End, cause, full_disk, is_of_surroundings
from cluster.lanes.early import StopWithinCells
from cluster.lanes.head import ON_HEAD
from cluster.lanes.lane import Lane
from cluster.lanes.queue import Queue, trial_of
from cluster.lanes.settings import LaneSettings
from cluster.study.protocol import Plan
from trainer.errors import DataError, NotReadyError
from trainer.report import State
from trainer.trial import TrialSpec

SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN")


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened to a trial; `state` is None while it goes on, and `examples` are those used so far.

    `lost` says that an attempt lost its workers and another begins; `halved`, that it ran out of memory and another
    begins in smaller micro-batches; `refused`, that the check before it failed and no trial of the study may be
    trained; `wrong_data`, in words, why none can be. `cost_usd` is of the attempt so far (of the one that was lost),
    None when it is not known; `begins` marks the trial's first event. `problem` is why it failed, after so many
    `updates` in its last attempt, and `surroundings` says that the trial had no part in that.
    """

    trial: TrialSpec
    examples: int = 0
    validation_loss: float | None = None
    state: State | None = None
    begins: bool = False
    lost: bool = False
    halved: bool = False
    refused: bool = False
    wrong_data: str | None = None
    cost_usd: float | None = None
    problem: str | None = None
    updates: int = 0
    surroundings: bool = False


class Schedule:
    """The trials of a study on its lanes, in a thread of its own, so that the caller can watch and cancel.

    `plan` tells what is wanted, given the losses of the trials that have an answer, which begin with `losses`; `begins`
    hears the plan as each phase begins; `stop_early` ends rates that fall behind within their cell.
    """

    def __init__(
        self,
        plan: Callable[[Mapping[str, float]], Plan],
        losses: Mapping[str, float],
        *,
        lanes: int,
        settings: LaneSettings,
        stop_early: bool,
        begins: Callable[[Plan], None],
        watch: Callable[[Event], None],
    ) -> None:
        self._board = settings.board
        self._queue = Queue(plan, losses, release=self._board.release.remote, begins=begins)
        scheduler = StopWithinCells(settings.train_rows) if stop_early else FIFOScheduler()
        self._watch = watch
        self._tuner = _tuner(self._queue, scheduler, lanes, settings, _Watcher(self._note))
        self._wrong_data: DataError | None = None
        self._problem: BaseException | None = None
        self._ends: list[End] = []
        self.cause: Cause | None = None
        # Not the thread's own join: a signal's exception inside it marks a living thread as dead (bpo-45274).
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._fit, daemon=True)

    def start(self) -> None:
        """Begin, and return at once."""
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Wait at most `seconds` for the end; whether it has come.

        Raises:
            DataError: the data are wrong, which ended the study; what ran was told to save first.
            NotReadyError: the surroundings failed, for whatever trial.
            BaseException: what Tune itself failed with; any other failure of a trial is a row, not an exception.
        """
        over = self._over.wait(seconds)
        if over and self._wrong_data:
            raise self._wrong_data
        if over and self.cause is not None and self.cause.surroundings:
            raise NotReadyError(f"{self.cause.text}; what is written is kept: the same command goes on from here")
        if self._problem:
            raise self._problem
        return over

    def cancel(self) -> None:
        """No further trial begins; those that run save a checkpoint and end."""
        self._queue.close()
        # Not waited for: a board that does not answer must not hold up whoever wants to end.
        self._board.stop.remote(State.CANCELLED)

    def _note(self, event: Event) -> None:
        """Pass an event on; begin no further trial if none can go well, for the data or for what they stand on."""
        self._watch(event)
        if event.wrong_data is not None and self._wrong_data is None:
            self._wrong_data = DataError(event.wrong_data)
            self.cancel()
        if event.state is None or self.cause is not None or self._wrong_data is not None:
            return
        error = event.problem if event.state is State.FAILED else None
        self._ends.append(End(error=error, updates=event.updates, surroundings=event.surroundings))
        self.cause = cause(self._ends)
        if self.cause is not None:
            self._queue.close()
            if self.cause.surroundings:
                self._board.stop.remote(State.CANCELLED)

    def _fit(self) -> None:
        try:
            self._tuner.fit()
        except BaseException as problem:  # noqa: BLE001 - raised again by `wait`, in the caller's thread
            self._problem = understood(problem)
        finally:
            self._over.set()


def understood(problem: BaseException) -> BaseException:
    """What Tune failed with; a full disk, or a machine out of memory where Ray ended a lane, in words for a person.

    Ray's memory monitor kills processes of its own when the whole machine has hardly any memory left, whoever took it.
    """
    if (full := full_disk(problem)) is not None:
        return NotReadyError(
            f"{full.strerror} at {full.filename or tempfile.gettempdir()}: make room there (or set TMPDIR to another "
            "folder), and run the same command again to go on"
        )
    behind: BaseException | None = problem
    while behind is not None:
        if isinstance(behind, ray.exceptions.OutOfMemoryError):
            return NotReadyError(
                "a machine ran out of memory, and Ray ended processes of the study there: what is written is kept; end "
                "other programs, or set resources.lanes: 1, and run the same command again to go on"
            )
        behind = behind.__cause__ or behind.__context__
    return problem


def _said(problem: str | None) -> str | None:
    """A failure without the class of an error whose words are for a person."""
    return problem and re.sub(r"^(NotReadyError|InputError): ", "", problem)


class _Watcher(tune.Callback):
    """Passes Tune's news of trials on."""

    def __init__(self, watch: Callable[[Event], None]) -> None:
        self._watch = watch

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune writes its callbacks down for a restore, which is ours to do; the watch is of this process."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A lane has taken a trial."""
        self._tell(trial, begins=True)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """A trial was evaluated, or came to its end."""
        # What the scheduler stops is done without a state of its own.
        state = State(result["state"]) if "state" in result else State.STOPPED if result.get("done") else None
        self._tell(
            trial,
            examples=result.get("examples", 0),
            validation_loss=result.get("validation_loss"),
            state=state,
            lost=result.get("lost", False),
            halved=result.get("halved", False),
            refused=result.get("refused", False),
            wrong_data=result.get("wrong_data"),
            cost_usd=result.get("cost_usd"),
            problem=_said(result.get("problem")),
            updates=result.get("updates", 0),
            surroundings=result.get("surroundings", False),
        )

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A lane could not be kept up, or could not write the row of the trial before."""
        problem = trial.get_pickled_error()
        problem = getattr(problem, "cause", None) or problem
        reported = trial.last_result or {}
        line = f"{type(problem).__name__}: {problem}".split("\n", 1)[0][:500]
        self._tell(
            trial,
            state=State.FAILED,
            problem=f"its lane ended ({line})",
            # How many is not known here; examples tell whether there were any.
            updates=reported.get("examples", 0),
            surroundings=is_of_surroundings(problem),
        )

    def _tell(self, trial: Any, **fields: Any) -> None:
        if (spec := trial_of(trial.config)) is not None:
            self._watch(Event(trial=spec, **fields))


def _tuner(
    queue: Queue, scheduler: TrialScheduler, lanes: int, settings: LaneSettings, watcher: tune.Callback
) -> tune.Tuner:
    # Tune's own tables, CSV and TensorBoard files: the summary has it all.
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
    os.environ["TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S"] = "0"
    # Tune would copy the driver's keys into the runtime environment of each lane, which Ray writes into a log that all
    # may read. A local Ray inherits the environment, and a cluster's machines have keys or roles of their own.
    class_cache.ENV_VARS_TO_PROPAGATE.difference_update(SECRETS)
    trainable = tune.with_resources(tune.with_parameters(Lane, settings=settings), ON_HEAD)
    return tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=queue,
            scheduler=scheduler,
            num_samples=-1,
            max_concurrent_trials=lanes,
            reuse_actors=True,
            trial_name_creator=lambda trial: trial.trial_id,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name="tune", storage_path=settings.storage, callbacks=[watcher], verbose=0, progress_reporter=_Silent()
        ),
    )


class _Silent(tune.ProgressReporter):
    """Says nothing: `cluster.report.live` does."""

    def should_report(self, trials: list[Any], done: bool = False) -> bool:
        """Never."""
        return False

    def report(self, trials: list[Any], done: bool, *sys_info: Any) -> None:
        """Nothing."""
