"""The board: one small actor of a study where lanes post jobs for their workers and hear what came of them.

A job stays on the board until its outcome is told, so that workers that were started anew after a loss find it
again. Everything a worker tells is numbered by the taking of the job: what an older, lost taking still had to say is
not heard.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import ray

from trainer.report import State
from trainer.trial import TrialSpec


@dataclass(frozen=True, kw_only=True)
class Job:
    """A trial for the workers of one lane; `serial` counts the lane's jobs from 1, `taking` the times it was taken."""

    serial: int
    trial: TrialSpec
    micro_batch: int
    checkpoints: str
    taking: int = 0


@dataclass
class _Lane:
    job: Job | None = None
    takings: int = 0
    wish: State | None = None
    closed: bool = False
    events: list[Any] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)


@dataclass(frozen=True)
class Taken:
    """An event: the lane's rank 0 has begun the job, for the `taking`-th time."""

    taking: int


@dataclass(frozen=True)
class TakenBack:
    """An event: the job came off the board before any worker took it, since the trial is to end in `state`."""

    state: State


class Board:
    """The state behind the actor; every method is one message."""

    def __init__(self) -> None:
        self._lanes: dict[str, _Lane] = {}
        self._wish: State | None = None

    async def post(self, lane: str, job: Job) -> None:
        """Give the lane's workers their next job."""
        here = self._lane(lane)
        async with here.changed:
            here.job, here.takings, here.wish, here.events = job, 0, None, []
            if self._wish is not None:
                here.job, here.events = None, [TakenBack(self._wish)]
            here.changed.notify_all()

    async def take(self, lane: str, rank: int, after: int) -> tuple[Job, int] | None:
        """The lane's job with a serial above `after`, as soon as there is one, and which taking it is; None to end."""
        here = self._lane(lane)
        async with here.changed:
            await here.changed.wait_for(lambda: here.closed or (here.job is not None and here.job.serial > after))
            if here.closed or here.job is None:
                return None
            if rank == 0:
                here.takings += 1
                here.events.append(Taken(here.takings))
                here.changed.notify_all()
            return here.job, here.takings

    async def tell(self, lane: str, taking: int, event: Any, *, last: bool = False) -> None:
        """An event of the lane's job from its rank 0; the last one takes the job off the board."""
        here = self._lane(lane)
        async with here.changed:
            if here.job is None or taking != here.takings:
                return
            here.events.append(event)
            if last:
                here.job = None
            here.changed.notify_all()

    async def hear(self, lane: str, timeout_seconds: float) -> list[Any]:
        """What was told since the call before, as soon as there is anything; nothing after the timeout."""
        here = self._lane(lane)
        async with here.changed:
            try:
                await asyncio.wait_for(here.changed.wait_for(lambda: bool(here.events)), timeout_seconds)
            except TimeoutError:
                return []
            events, here.events = here.events, []
            return events

    async def wish(self, lane: str) -> State | None:
        """How the lane's trial is to end before its time, None to go on."""
        return self._wish or self._lane(lane).wish

    async def stop(self, state: State, lane: str | None = None) -> None:
        """Wish that one lane's trial, or every trial, ends in `state`; jobs that nobody took yet are taken back."""
        if lane is None:
            self._wish = state
        for name in [lane] if lane is not None else list(self._lanes):
            here = self._lane(name)
            async with here.changed:
                here.wish = state
                if here.job is not None and here.takings == 0:
                    here.job = None
                    here.events.append(TakenBack(state))
                    here.changed.notify_all()

    async def close(self, lane: str) -> None:
        """No job will follow: the lane's workers end."""
        here = self._lane(lane)
        async with here.changed:
            here.closed = True
            here.changed.notify_all()

    def _lane(self, lane: str) -> _Lane:
        return self._lanes.setdefault(lane, _Lane())


def start_board() -> Any:
    """A handle of a new board actor, which ends with the driver that started it."""
    return ray.remote(Board).options(num_cpus=0, max_concurrency=1000).remote()
