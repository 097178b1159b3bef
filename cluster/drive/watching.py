"""A run watched to its end: what stops it before that, and what is said then."""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cluster.process import signals

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.lanes.schedule import Schedule
    from cluster.prices import Spending
    from cluster.process.ray_session import Session
    from cluster.report.live import LiveView
    from cluster.report.terminal import Terminal
    from cluster.summary.driver.hold import Hold


@dataclass(frozen=True)
class Ends:
    """What ends a run before its study: a Ray or a hold on it that is lost, or a budget, counted from `began_at`."""

    session: "Session"
    hold: "Hold"
    spending: "Spending | None"
    began_at: float

    def check(self, view: "LiveView") -> str | None:
        """Why the run must save and stop, if it must.

        Raises:
            NotReadyError: Ray has ended under it, so that nothing can be saved.
        """
        from trainer.errors import NotReadyError

        if lost := self.session.lost():
            raise NotReadyError(f"{lost}: what is written is kept; run the same command again to go on")
        if self.hold.lost():
            # The rest is said by whoever opened the summary.
            return "this driver does not hold the study any more"
        return spent_out(self.spending, view, seconds=time.monotonic() - self.began_at)


def spent_out(spending: "Spending | None", view: "LiveView", *, seconds: float) -> str | None:
    """Why a run that has taken `seconds` must end, if its budget is spent or, in dollars, cannot be kept."""
    if spending is None:
        return None
    if spending.seconds is not None:
        return f"the budget of {spending.seconds:g} s is spent" if seconds >= spending.seconds else None
    assert spending.usd is not None
    if view.unpriced:
        return "the price of a machine is not known, so a budget in usd cannot be kept"
    return f"the budget of {spending.usd:g} usd is spent" if view.cost_usd() >= spending.usd else None


def watch(schedule: "Schedule", terminal: "Terminal", over: "Callable[[], str | None]") -> bool:
    """Wait for the end; a first signal saves and stops, and so does what `over` says. False if `over` ended it.

    Raises:
        StoppedError: a second signal came before all was saved.
        Exception: whatever `over` or the schedule raises.
    """
    in_time, told = True, False
    with signals.counted():
        while not _ended(schedule, over):
            terminal.refresh()
            if signals.count() > 1:
                raise signals.StoppedError
            reason = over()
            if signals.count() and not told:
                told = True
                terminal.say("saving and stopping; Ctrl-C again to stop now")
                schedule.cancel()
            elif reason is not None and in_time and not told:
                in_time = False
                terminal.say(f"{reason}: saving and stopping")
                schedule.cancel()
    return in_time


def _ended(schedule: "Schedule", over: "Callable[[], str | None]") -> bool:
    """Wait a moment for the end; what Tune fails with when Ray has ended under it is not the reason that is said."""
    from trainer.errors import UserError

    try:
        return schedule.wait(0.25)
    except UserError:
        raise
    except Exception:
        over()
        raise
