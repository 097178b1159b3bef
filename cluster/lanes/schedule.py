"""The schedule: Ray Tune gives each lane its next trial until the plan wants no more, or the study is cancelled."""

import os
import tempfile
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import ray
from ray import tune
from ray.air._internal import usage as air_usage
from ray.tune.execution import class_cache
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from cluster.lanes.board import ON_HEAD
from cluster.lanes.breaker import IDENTICAL_AT_MOST, Break, cause
from cluster.lanes.early import StopWithinCells
from cluster.lanes.events import TrialBegan, TrialEnded, TrialEvent, of_result
from cluster.lanes.failure import Fault
from cluster.lanes.queue import Queue, trial_of
from cluster.lanes.settings import LaneSettings
from cluster.lanes.surroundings import full_disk, full_disk_text, is_of_surroundings, no_room_for_files
from cluster.lanes.trainable import LaneTrainable
from cluster.study.protocol import Unfolding, Wanted
from trainer.errors import DataError, NotReadyError
from trainer.report import State

# Tune takes a step every tenth of a second, unless Ray has ended under it.
SECONDS_TO_LEAVE = 5.0
SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN")


class Schedule:
    """Runs the trials of a study on its lanes, in a thread of its own, so that the caller can watch and cancel.

    `begins` is called with the plan as each phase begins; `stop_early` ends rates that fall behind within their cell;
    `watch` is called with every event, in the schedule's thread.
    """

    def __init__(
        self,
        unfolding: Unfolding,
        *,
        lanes: int,
        settings: LaneSettings,
        stop_early: bool,
        begins: Callable[[Wanted], None],
        watch: Callable[[TrialEvent], None],
    ) -> None:
        self._board = settings.board
        self._queue = Queue(unfolding, release=self._board.release.remote, begins=begins)
        scheduler = StopWithinCells(settings.train_rows) if stop_early else FIFOScheduler()
        self._watch = watch
        self._left = threading.Event()
        self._tuner = _tuner(self._queue, scheduler, lanes, settings, _Watcher(self._note, self._left.is_set))
        self._problem: BaseException | None = None
        self._ended: deque[TrialEnded] = deque(maxlen=IDENTICAL_AT_MOST)
        self.cause: Break | None = None
        # Not the thread's own `join`, in which the exception of a signal marks a living thread as dead (bpo-45274).
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._fit, daemon=True)

    def start(self) -> None:
        """Begin, and return at once."""
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Wait at most `seconds` for the end; return whether it has come.

        Raises:
            DataError: the data are wrong, which ended the study; running trials were asked to save first.
            NotReadyError: the surroundings failed, which would end any trial.
            BaseException: Tune itself failed with it; any other failure of a trial is a row, not an exception.
        """
        over = self._over.wait(seconds)
        if over and self.cause is not None:
            if self.cause.fault is Fault.DATA:
                raise DataError(self.cause.text)
            if self.cause.fault is Fault.SURROUNDINGS:
                raise NotReadyError(
                    f"{self.cause.text}; everything written so far is kept: run the same command again to continue"
                )
        if self._problem:
            raise self._problem
        return over

    def cancel(self) -> None:
        """Begin no further trial; those that are running save a checkpoint and end."""
        self._queue.close()
        # Not waited for: a board that does not answer must not hold up the caller.
        self._board.stop.remote(State.CANCELLED)

    def leave(self) -> None:
        """Let Tune's thread end, whatever is still running, and wait a while for that.

        Ray ends a process in which a thread calls it after `ray.shutdown` (core_worker_process.cc, EnsureInitialized).
        """
        self._left.set()
        self._over.wait(SECONDS_TO_LEAVE)

    def _note(self, event: TrialEvent) -> None:
        """Pass an event on; begin no further trial if none can succeed, because of the data or the surroundings."""
        self._watch(event)
        if not isinstance(event, TrialEnded):
            return
        self._ended.append(event)
        newest = cause(list(self._ended))
        data_now = newest is not None and newest.fault is Fault.DATA
        data_before = self.cause is not None and self.cause.fault is Fault.DATA
        # Wrong data are reported to the person, whatever another lane met at the same time.
        if newest is None or data_before or (self.cause is not None and not data_now):
            return
        self.cause = newest
        self._queue.close()
        if newest.fault is not Fault.TRIAL:
            self._board.stop.remote(State.CANCELLED)

    def _fit(self) -> None:
        try:
            self._tuner.fit()
        except BaseException as problem:  # noqa: BLE001 - raised again by `wait`, in the caller's thread
            self._problem = understood(problem)
        finally:
            self._over.set()


def understood(problem: BaseException) -> BaseException:
    """Tune's exception; for a full disk, or a machine out of memory where Ray ended a lane, an error for a person.

    When a machine has hardly any memory left, whatever took it, Ray's memory monitor kills processes of Ray.
    """
    if (full := full_disk(problem)) is not None:
        return NotReadyError(full_disk_text(full))
    behind: BaseException | None = problem
    while behind is not None:
        if isinstance(behind, ray.exceptions.OutOfMemoryError):
            return NotReadyError(
                "a machine ran out of memory, and Ray ended processes of the study there; everything written so far is "
                "kept: end other programs, or set resources.lanes: 1, and run the same command again to continue"
            )
        behind = behind.__cause__ or behind.__context__
    return problem


class LeftError(BaseException):
    """Ends Tune's loop at its next step; it is no Exception, after which Tune would first wait for all its actors."""


class _Watcher(tune.Callback):
    """Passes on what Tune reports about trials, as events, and ends Tune's loop once `left` is true."""

    def __init__(self, watch: Callable[[TrialEvent], None], left: Callable[[], bool]) -> None:
        self._watch, self._left = watch, left

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """End Tune's loop if the schedule was left."""
        if self._left():
            raise LeftError

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune saves its callbacks for a restore, which is not used here; `watch` belongs to this process."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Pass on that a lane has taken a trial."""
        if (spec := trial_of(trial.config)) is not None:
            self._watch(TrialBegan(trial=spec))

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Pass on an event that a lane reported."""
        spec = trial_of(trial.config)
        if spec is not None and (event := of_result(spec, result)) is not None:
            self._watch(event)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Pass on that a lane ended, or could not write the row of its previous trial."""
        spec = trial_of(trial.config)
        if spec is None:
            return
        problem = trial.get_pickled_error()
        problem = getattr(problem, "cause", None) or problem
        # Tune writes the error into its folder, reads it there, and knows nothing of it where there was no room.
        of_surroundings = no_room_for_files() if problem is None else is_of_surroundings(problem)
        line = f"{type(problem).__name__}: {problem}" if problem else f"Tune kept no reason in {tempfile.gettempdir()}"
        first_line = line.split("\n", 1)[0][:500]
        self._watch(
            TrialEnded(
                trial=spec,
                state=State.FAILED,
                error=f"its lane ended ({first_line})",
                fault=Fault.SURROUNDINGS if of_surroundings else Fault.TRIAL,
                # The number of updates is unknown here; the examples show whether there were any.
                updates=(trial.last_result or {}).get("examples", 0),
            )
        )


def _tuner(
    queue: Queue, scheduler: TrialScheduler, lanes: int, settings: LaneSettings, watcher: tune.Callback
) -> tune.Tuner:
    # No tables, CSV or TensorBoard files of Tune's: the summary has all of that.
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
    os.environ["TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S"] = "0"
    # Tune would copy the driver's keys into the runtime environment of each lane, which Ray writes into a log that
    # anyone may read. A local Ray inherits the environment, and a cluster's machines have their own keys or roles.
    class_cache.ENV_VARS_TO_PROPAGATE.difference_update(SECRETS)
    # Tune counts callbacks for Ray's telemetry, which is off, and to do so it imports MLflow where that is installed:
    # two seconds of a processor.
    air_usage.tag_callbacks = lambda callbacks: False
    trainable = tune.with_resources(tune.with_parameters(LaneTrainable, settings=settings), ON_HEAD)
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
    """Reports nothing: `cluster.report.live` does that."""

    def should_report(self, trials: list[Any], done: bool = False) -> bool:
        """Never report."""
        return False

    def report(self, trials: list[Any], done: bool, *sys_info: Any) -> None:
        """Do nothing."""
