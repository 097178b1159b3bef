"""Whether an exception is a fault of the surroundings: a store that cannot be used, or a disk without room."""

import errno
from collections.abc import Iterator

from trainer.errors import NotReadyError, UserError

# Whoever meets these was not at fault, and neither was the trial.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def is_of_surroundings(problem: BaseException) -> bool:
    """Whether a trial failed for what it stands on: a store that cannot be used, or a disk without room."""
    for one in _chain(problem):
        if isinstance(one, NotReadyError):
            return True
        # A store refuses to write or to read in words for a person; what the system said stands behind them.
        if isinstance(one, OSError) and (isinstance(problem, UserError) or one.errno in NO_ROOM):
            return True
    return False


def full_disk(problem: BaseException) -> OSError | None:
    """The system's error for a disk without room, if that is behind `problem`."""
    return next((one for one in _chain(problem) if isinstance(one, OSError) and one.errno in NO_ROOM), None)


def _chain(problem: BaseException) -> Iterator[BaseException]:
    following: BaseException | None = problem
    while following is not None:
        yield following
        following = following.__cause__ or following.__context__
