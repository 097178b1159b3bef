"""Holding a study as its only driver: what is asked of a lock or a lease, also by whoever runs the study meanwhile."""

from typing import Protocol

from trainer.errors import NotReadyError


class Hold(Protocol):
    """A study that this process holds, until it is given back or lost."""

    def lost(self) -> NotReadyError | None:
        """Why the study is not held any more: another driver may run it by now, and nothing may be written for it.

        None while it is held. Cheap, for any thread to ask often; once lost, it stays lost.
        """


def ensure(hold: Hold) -> None:
    """Raise the error of a hold that was lost."""
    if (problem := hold.lost()) is not None:
        raise problem
