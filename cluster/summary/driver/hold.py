"""Holding a study as its only driver: the protocol that locks and leases share, also for the code that trains."""

from typing import Protocol

from trainer.errors import NotReadyError


class LapsedError(NotReadyError):
    """A hold was not renewed in time, because its store did not answer or this machine stood still.

    Nobody is known to have taken the study over, so this process may ask for it again.
    """


class Hold(Protocol):
    """A study that this process holds, until it is given back or lost."""

    def lost(self) -> NotReadyError | None:
        """Why the study is no longer held; None while it is.

        Once it is lost, another driver may run it, so nothing may be written for it, and it stays lost. The call is
        cheap, and any thread may make it often.
        """


def ensure(hold: Hold) -> None:
    """Raise the error of a hold that was lost."""
    if (problem := hold.lost()) is not None:
        raise problem
