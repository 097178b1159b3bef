"""Running a study to its end: it is opened, trained on its lanes, kept to its budget, stopped in order, compacted."""

import contextlib
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from queue import SimpleQueue

from cluster.drive.ends import Ends, refuse_dollars_here, watch
from cluster.drive.events import A_SIGNAL, Event, NotCompacted, RayConnected, StudyOpened, Waiting
from cluster.drive.heard import COMPARED, Heard
from cluster.drive.lanes import begun_schedule
from cluster.drive.opening import Opened, opened
from cluster.drive.result import End, RunResult
from cluster.fleet.meter import Meter, meter_of, running
from cluster.lanes.breaker import Break
from cluster.lanes.events import TrialEvent
from cluster.lanes.tally import Tally
from cluster.prices import Spending
from cluster.process import ray_session, scratch, signals
from cluster.process.ray_session import Session
from cluster.study.study import Study
from cluster.summary import query
from cluster.summary.compact import compact
from cluster.summary.driver.hold import LapsedError, ensure
from cluster.summary.store import ConflictError, Summary
from trainer.errors import NotReadyError, UserError

Hear = Callable[[Event], object]


def run(study: Study, on_event: Hear, *, address: str | None = None, spending: Spending | None = None) -> RunResult:
    """Run the study here, or with `address` on that Ray cluster, as its only driver; finished trials are not repeated.

    `on_event` is called with every event, in the caller's thread. A first signal (Ctrl-C) saves and stops; `spending`
    in seconds counts from the call. If the summary cannot be reached for too long, the run goes on by itself once.

    Raises:
        InputError: another process runs the study, its name belongs to another one, or it cannot be written.
        DataError: the data are damaged or were replaced.
        NotReadyError: Ray, the store or the disk failed; everything written so far is kept.
        StoppedError: a second signal came before all was saved.
    """
    if address is None:
        refuse_dollars_here(spending)
    meter, tally = meter_of(study.capacity.fleet), Tally()
    one = _Run(study, on_event, address, spending, time.monotonic(), meter)
    with running(meter):
        try:
            return _once(one, tally)
        except LapsedError:
            if signals.count():
                raise
            on_event(Waiting(text=f"{study.spec.summary} could not be reached in time: going on by itself, this once"))
            return _once(one, tally.carried_on())


@dataclass(frozen=True)
class _Run:
    """What was asked for, when, and what measures its cost."""

    study: Study
    on_event: Hear
    address: str | None
    spending: Spending | None
    began_at: float
    meter: Meter | None


def _once(run: _Run, tally: Tally) -> RunResult:
    """Open the study, train what has no answer, and close it."""
    study, on_event = run.study, run.on_event

    def say(text: str) -> None:
        on_event(Waiting(text=text))

    with opened(study, say) as here:
        on_event(_opening(here))
        heard = Heard(here.answered)
        # A run that goes on by itself may find nothing left to train, after it has paid for the rest.
        bill_usd = run.meter.usd() if run.meter else None
        result = RunResult(study=here.study, end=End.COMPLETED, cost_usd=tally.cost_usd(), bill_usd=bill_usd)
        if here.unfolding.plan.open or not _is_finished(here):
            # Tune writes until its Ray is gone, so the folder is removed last.
            with (
                scratch.folder("batchscope-tune-", tempfile.gettempdir()) as storage,
                _ray(run.address, study) as session,
            ):
                ends = Ends(session, here.hold, run.spending, run.began_at, run.meter)
                on_event(RayConnected(study=here.study, bill_usd=ends.bill_usd))
                result = _train(here, storage, ends, heard, tally, on_event)
        if result.end in (End.COMPLETED, End.BROKEN):
            result = _closed(here, result, heard, on_event)
    return result


def _opening(here: Opened) -> StudyOpened:
    plan, study = here.unfolding.plan, here.study
    finished = [planned.trial for planned in plan.trials if planned.trial.trial_id in here.answered]
    return StudyOpened(
        study=study,
        asked=study.asked(plan),
        finished=len(finished),
        finished_examples=sum(map(study.examples, finished)),
    )


def _is_finished(here: Opened) -> bool:
    return all(planned.trial.trial_id in here.answered for planned in here.unfolding.plan.trials)


def _ray(address: str | None, study: Study) -> contextlib.AbstractContextManager[Session]:
    return ray_session.joined(address) if address else ray_session.local(**study.placed.ray_resources)


def _train(here: Opened, storage: str, ends: Ends, heard: Heard, tally: Tally, on_event: Hear) -> RunResult:
    """Train the trials without an answer; events come from the schedule's thread and are passed on in this one."""
    waiting: SimpleQueue[TrialEvent] = SimpleQueue()

    def deliver() -> None:
        while not waiting.empty():
            event = waiting.get()
            heard.hear(event)
            tally.note(event)
            on_event(event)

    schedule = begun_schedule(here, storage, waiting.put)
    try:
        ended_by = watch(schedule, lambda: ends.check(tally), deliver, on_event)
    except UserError:
        # The cause is also the end of a trial, which must be passed on.
        deliver()
        raise
    finally:
        schedule.leave()
    ensure(ends.hold)
    end, reason = _end(ended_by, tally, schedule.cause)
    return RunResult(
        study=here.study,
        end=end,
        failed=tally.failed,
        cost_usd=tally.cost_usd(),
        bill_usd=ends.bill_usd(),
        reason=reason,
    )


def _end(ended_by: str | None, tally: Tally, cause: Break | None) -> tuple[End, str | None]:
    if signals.count():
        return End.STOPPED, A_SIGNAL
    if ended_by is not None:
        return End.OUT_OF_BUDGET, ended_by
    if tally.refused:
        return End.REFUSED, "the check failed: the layout changes the update"
    if cause is not None:
        return End.BROKEN, cause.text
    return End.COMPLETED, None


def _closed(here: Opened, result: RunResult, heard: Heard, on_event: Hear) -> RunResult:
    """Compare the events with the rows, and compact the study.

    Raises:
        NotReadyError: rows of this run, or of those before it, are missing.
    """
    here.write_lost()
    summary, study = here.summary, here.study.spec.study
    trials = query.trials(summary, study, columns=COMPARED)
    if missing := heard.missing(trials, query.evaluations(summary, study)):
        raise NotReadyError(
            f"the study ended, but in {summary.uri} {missing}: files were deleted or damaged while it ran; put them "
            "back, or run the same command again to train the trials without a row"
        )
    _compact(summary, study, on_event)
    return replace(result, unwritten=heard.unwritten(trials))


def _compact(summary: Summary, study: str, on_event: Hear) -> None:
    """Compact a study that ended; if that fails, an event says why, and no result changes."""
    try:
        compact(summary, study)
    except (UserError, ConflictError) as problem:
        on_event(NotCompacted(reason=str(problem)))
