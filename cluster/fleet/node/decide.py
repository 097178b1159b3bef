"""When a machine ends itself: pure rules over the seconds since it started, so tests need no clock.

These are the dead-man switches: they ask no controller, laptop or AWS, so losing one of those does not disable them.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """How long a machine lives, all in seconds.

    `deadline` counts from its start; `to_join` is a worker's time for its set-up, until it first reaches the head;
    `head_lost` counts from when the head was last reached; `idle` (head) from when a study last waited or ran.
    """

    deadline: float
    to_join: float
    head_lost: float
    idle: float


@dataclass(frozen=True)
class Observed:
    """When a machine last saw the head or a study, in seconds since it started; None means never."""

    head: float | None = None
    study: float | None = None


def worker_ends(limits: Limits, seen: Observed, now: float) -> str | None:
    """Why a worker must end at `now`, or None."""
    if now >= limits.deadline:
        return "its deadline has come"
    if seen.head is None:
        return "it never met the head" if now >= limits.to_join else None
    return "it lost the head" if now - seen.head >= limits.head_lost else None


def head_ends(limits: Limits, seen: Observed, now: float) -> str | None:
    """Why the head must end at `now`, and its workers before it, or None.

    A head that cannot be asked counts as without a study: a broken head must not cost money for ever.
    """
    if now >= limits.deadline:
        return "its deadline has come"
    return "no study has waited or run" if now - (seen.study or 0.0) >= limits.idle else None


def seconds_until_interruption(notice_unix: float, now_unix: float) -> int:
    """The whole seconds that a spot machine has left; at least 1, so that even a late notice drains it."""
    return max(1, int(notice_unix - now_unix))
