"""When a machine ends itself: pure rules over seconds since it started, so that a test's clock can be anything.

These are the dead-man switches: none asks a controller, a laptop or AWS, so none is lost together with them.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """How long a machine lives, all in seconds.

    `deadline` counts from its start; `to_join` is what a worker has for its set-up until it has met the head once;
    `head_lost` begins when the head was last reached; `idle` (head) when a study was last seen to wait or run.
    """

    deadline: float
    to_join: float
    head_lost: float
    idle: float


@dataclass(frozen=True)
class Observed:
    """What a machine has seen, in seconds since it started; None is never."""

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

    A head that cannot be asked shows no study: it must not bill on for being broken.
    """
    if now >= limits.deadline:
        return "its deadline has come"
    return "no study has waited or run" if now - (seen.study or 0.0) >= limits.idle else None


def seconds_until_interruption(notice_unix: float, now_unix: float) -> int:
    """The whole seconds that a spot machine still has; at least 1, so that a late notice still drains."""
    return max(1, int(notice_unix - now_unix))
