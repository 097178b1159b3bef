"""Whether an exception is a fault of the surroundings: a store that cannot be used, or a disk without room."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator

from trainer.errors import NotReadyError, UserError

# Neither the code that meets these errors nor the trial is at fault.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
# With less, the next file does not fit.
LEAST_BYTES = 2**20


def is_of_surroundings(problem: BaseException) -> bool:
    """Whether a trial failed because of its surroundings: a store that cannot be used, or a disk without room."""
    for link in _chain(problem):
        if isinstance(link, NotReadyError):
            return True
        # A store's refusal to read or write is an error for a person, with the system's error in its chain.
        if isinstance(link, OSError) and (isinstance(problem, UserError) or link.errno in NO_ROOM):
            return True
    return False


def full_disk(problem: BaseException) -> OSError | None:
    """The system's error for a disk without room, if one is in the chain of `problem`."""
    return next((link for link in _chain(problem) if isinstance(link, OSError) and link.errno in NO_ROOM), None)


def no_room_for_files() -> bool:
    """Whether the disk of temporary files is full now."""
    return shutil.disk_usage(tempfile.gettempdir()).free < LEAST_BYTES


def full_disk_text(full: OSError) -> str:
    """A full disk as a sentence for a person, with the remedy."""
    place = full.filename or tempfile.gettempdir()
    return (
        f"{os.strerror(full.errno or errno.ENOSPC)} at {place}: make room there (or set TMPDIR to another folder), and "
        "run the same command again to continue"
    )


def _chain(problem: BaseException) -> Iterator[BaseException]:
    following: BaseException | None = problem
    while following is not None:
        yield following
        following = following.__cause__ or following.__context__
