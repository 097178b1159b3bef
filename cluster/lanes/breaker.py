"""The breaker: whether what ended a trial would end every other one too, so that no further one is begun.

A store that cannot be reached, a full disk, a board that is dead: each trial would fail in turn, 10 to 20 seconds
apart. And what fails three trials in the same words, before any of them made an update, is no matter of the trial.
"""

import errno
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from trainer.errors import NotReadyError, UserError

IDENTICAL_AT_MOST = 3
# Whoever meets these was not at fault, and neither was the trial.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@dataclass(frozen=True, kw_only=True)
class End:
    """How a trial ended: with `error` if it failed, having made so many `updates` in its last attempt."""

    error: str | None = None
    updates: int = 0
    surroundings: bool = False


@dataclass(frozen=True)
class Cause:
    """Why no further trial is begun; `surroundings` if no trial had a part in it."""

    text: str
    surroundings: bool


def cause(ends: Sequence[End]) -> Cause | None:
    """Why the study is to end, by how its trials have ended so far; None to go on."""
    if not ends or ends[-1].error is None:
        return None
    if ends[-1].surroundings:
        return Cause(ends[-1].error, surroundings=True)
    last = ends[-IDENTICAL_AT_MOST:]
    fruitless = [_kind(end.error) for end in last if end.error is not None and not end.updates]
    if len(fruitless) == IDENTICAL_AT_MOST and len(set(fruitless)) == 1:
        return Cause(ends[-1].error, surroundings=False)
    return None


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
    """What the system said of a disk without room, if that is behind `problem`."""
    return next((one for one in _chain(problem) if isinstance(one, OSError) and one.errno in NO_ROOM), None)


def _chain(problem: BaseException) -> Iterator[BaseException]:
    following: BaseException | None = problem
    while following is not None:
        yield following
        following = following.__cause__ or following.__context__


def _kind(error: str) -> str:
    """An error without what is a trial's own in it: ids and numbers."""
    return re.sub(r"[0-9a-f]{8,}|\d+", "#", error)
