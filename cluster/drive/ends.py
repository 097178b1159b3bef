"""What ends a run before its study is over: a signal, a spent budget, or the loss of Ray or of the hold."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cluster.drive.events import A_SIGNAL, Stopping
from cluster.fleet.meter import Meter
from cluster.lanes.tally import Tally
from cluster.prices import Spending, this_instance
from cluster.process import signals
from cluster.process.ray_session import Session
from cluster.summary.driver.hold import Hold
from trainer.errors import InputError, NotReadyError, UserError

if TYPE_CHECKING:
    from cluster.lanes.schedule import Schedule

SECONDS_BETWEEN_LOOKS = 0.25


@dataclass(frozen=True)
class Ends:
    """What is checked while a run goes on; `spending` counts from `began_at`, on the monotonic clock.

    On a fleet, dollars are those of `meter`, which counts all of its machines; elsewhere those of the ledger.
    """

    session: Session
    hold: Hold
    spending: Spending | None
    began_at: float
    meter: Meter | None = None

    def bill_usd(self) -> float | None:
        """What the fleet has cost since the run began; None where there is no fleet, or a price is unknown."""
        return None if self.meter is None else self.meter.usd()

    def check(self, tally: Tally) -> str | None:
        """Why the run must save and stop; None to go on.

        Raises:
            NotReadyError: Ray has ended, so nothing can be saved.
        """
        if lost := self.session.lost():
            raise NotReadyError(f"{lost}; everything written so far is kept: run the same command again to continue")
        if self.hold.lost():
            # The block that holds the study raises the full error.
            return "this driver no longer holds the study"
        seconds = time.monotonic() - self.began_at
        bill_usd = self.bill_usd()
        unpriced = tally.unpriced or (self.meter is not None and bill_usd is None)
        spent_usd = max(tally.cost_usd(), bill_usd or 0.0)
        return spent_out(self.spending, seconds=seconds, usd=None if unpriced else spent_usd)


def spent_out(spending: Spending | None, *, seconds: float, usd: float | None) -> str | None:
    """Why a run that took `seconds` and `usd` must end: its budget is spent or, in dollars, cannot be kept. Else None.

    `usd` is None if the price of a machine is unknown.
    """
    if spending is None:
        return None
    if spending.seconds is not None:
        return f"the budget of {spending.seconds:g} s is spent" if seconds >= spending.seconds else None
    assert spending.usd is not None
    if usd is None:
        return "the price of a machine is unknown, so a budget in usd cannot be kept"
    return f"the budget of {spending.usd:g} usd is spent" if usd >= spending.usd else None


def refuse_dollars_here(spending: Spending | None) -> None:
    """Refuse a budget in dollars for a run on this machine if it is not on EC2.

    Raises:
        InputError: this machine has no price.
    """
    if spending is not None and spending.usd is not None and this_instance().market == "local":
        raise InputError(
            f"--budget {spending.usd:g}usd: this machine is not on EC2 and has no price: give a time, such as 3h"
        )


def watch(
    schedule: "Schedule",
    reason_to_end: Callable[[], str | None],
    deliver: Callable[[], None],
    tell: Callable[[Stopping], object],
) -> str | None:
    """Wait for the end of a schedule, and cancel it at a first signal or when `reason_to_end` returns a reason.

    Returns that reason, or None. `deliver` is called after each short wait, and once more at the end.

    Raises:
        StoppedError: a second signal came before all was saved.
        Exception: whatever `reason_to_end` or the schedule raises.
    """
    ended_by, stopping = None, False
    with signals.counted():
        while not _is_over(schedule, reason_to_end):
            deliver()
            if signals.count() > 1:
                raise signals.StoppedError
            reason = reason_to_end()
            if stopping:
                continue
            if signals.count():
                stopping = True
                tell(Stopping(reason=A_SIGNAL))
                schedule.cancel()
            elif reason is not None:
                ended_by, stopping = reason, True
                tell(Stopping(reason=reason))
                schedule.cancel()
    deliver()
    return ended_by


def _is_over(schedule: "Schedule", reason_to_end: Callable[[], str | None]) -> bool:
    """Wait a moment for the end. If Tune fails because Ray has ended, `reason_to_end` raises the better error."""
    try:
        return schedule.wait(SECONDS_BETWEEN_LOOKS)
    except UserError:
        raise
    except Exception:
        reason_to_end()
        raise
