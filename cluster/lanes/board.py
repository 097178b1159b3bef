"""The board: one small actor of a study where lanes post assignments for their workers and hear their reports.

A worker group has a name of its own: what an older, lost group of the same lane still had to say is told to a name
that nobody listens to any more.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import ray

from cluster.lanes.reports import Beat, Taken, TakenBack, WorkerReport
from cluster.lanes.station import Station
from cluster.study.at_once import RowsAtOnce
from trainer.report import State
from trainer.trial import TrialSpec

SECONDS_BETWEEN_LOOKS = 1.0
# A cluster's head, and the only node of a local Ray, has this resource by Ray itself. Drivers, lanes and the board
# compute nothing and belong on the one machine that is never called back: what asks for a thousandth is placed there.
ON_HEAD = {"node:__internal_head__": 0.001}


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """A trial for the workers of one group; `serial` counts the group's assignments from 1.

    `micro_batch` is of the trial's updates; `rows_at_once` bounds whatever else is computed.
    """

    serial: int
    trial: TrialSpec
    micro_batch: int
    rows_at_once: RowsAtOnce
    checkpoints: str


@dataclass
class _Group:
    assignment: Assignment | None = None
    serial: int = 0
    taken: bool = False
    wish: State | None = None
    closed: bool = False
    reports: list[WorkerReport] = field(default_factory=list)
    beats: list[Beat] = field(default_factory=list)
    stations: dict[int, Station] = field(default_factory=dict)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)


class Board:
    """The state behind the actor; every method is one message.

    `draining` tells the nodes that are called back; `micro_batches` are those of `largest` to begin with.
    """

    def __init__(
        self, draining: Callable[[], Mapping[str, int]], micro_batches: Mapping[str, int] = MappingProxyType({})
    ) -> None:
        self._groups: dict[str, _Group] = {}
        self._wish: State | None = None
        self._micro_batches = dict(micro_batches)
        self._releases = 0
        self._released = asyncio.Condition()
        self._look = draining
        self._draining: set[str] = set()
        self._looked_at = float("-inf")

    async def post(self, group: str, assignment: Assignment) -> None:
        """Give a group its next assignment."""
        here = self._group(group)
        async with here.changed:
            here.assignment, here.serial, here.taken, here.wish = assignment, assignment.serial, False, None
            here.reports, here.beats = [], []
            if self._wish is not None:
                here.assignment, here.reports = None, [TakenBack(self._wish)]
            here.changed.notify_all()

    async def take(self, group: str, rank: int, after: int, station: Station) -> Assignment | None:
        """The group's assignment with a serial above `after`, as soon as there is one; None to end."""
        here = self._group(group)
        here.stations[rank] = station
        async with here.changed:
            await here.changed.wait_for(
                lambda: here.closed or (here.assignment is not None and here.assignment.serial > after)
            )
            if here.closed:
                return None
            if rank == 0:
                here.taken = True
                here.reports.append(Taken(station))
                here.changed.notify_all()
            return here.assignment

    async def tell(self, group: str, report: WorkerReport, *, last: bool = False) -> None:
        """A report on the group's assignment from its rank 0; the last one takes the assignment off the board."""
        here = self._group(group)
        async with here.changed:
            if here.assignment is None:
                return
            here.reports.append(report)
            if last:
                here.assignment = None
            here.changed.notify_all()

    async def hear(self, group: str, timeout_seconds: float) -> list[WorkerReport]:
        """What was told since the call before, as soon as there is anything; nothing after the timeout."""
        here = self._group(group)
        async with here.changed:
            try:
                await asyncio.wait_for(here.changed.wait_for(lambda: bool(here.reports)), timeout_seconds)
            except TimeoutError:
                return []
            reports, here.reports = here.reports, []
            return reports

    async def beat(self, group: str, serial: int, beat: Beat | None) -> State | None:
        """Where the group's trial stands, from its rank 0; how it is to end before its time, None to go on.

        A trial on a node that is called back (a spot machine with its notice, `ray drain-node`) is to end as LOST: it
        saves a checkpoint first, so that nothing of it is repeated.
        """
        here = self._group(group)
        if beat is not None and serial == here.serial:
            # The first tells where the attempt began, the last how far it came.
            here.beats = [*here.beats[:1], beat]
        if time.monotonic() - self._looked_at > SECONDS_BETWEEN_LOOKS:
            self._looked_at = time.monotonic()
            self._draining = set(await asyncio.to_thread(self._look))
        nodes = {station.node_id for station in here.stations.values()}
        return self._wish or here.wish or (State.LOST if nodes & self._draining else None)

    async def beats(self, group: str) -> list[Beat]:
        """The first and the last beat of the group's assignment, where it began and how far it came, or none yet."""
        return self._group(group).beats

    async def shrink(self, kind: str, micro_batch: int) -> int:
        """Micro-batches of trials of a `kind` are at most so large from now on, in every lane; returns how large.

        Of two lanes that ran out of memory in the same micro-batch the second does not halve it again.
        """
        self._micro_batches[kind] = min(self._micro_batches.get(kind, micro_batch), micro_batch)
        return self._micro_batches[kind]

    async def largest(self, kind: str) -> int | None:
        """The largest micro-batch of trials of a `kind` by what ran out of memory so far; None while nothing has."""
        return self._micro_batches.get(kind)

    async def stations(self, group: str) -> list[Station]:
        """Where the workers of a group stand that have asked for an assignment."""
        return list(self._group(group).stations.values())

    async def stop(self, state: State, group: str | None = None) -> None:
        """Wish that one group's trial, or every trial, ends in `state`; an assignment nobody took yet is taken back."""
        if group is None:
            self._wish = state
        for name in [group] if group is not None else list(self._groups):
            here = self._group(name)
            async with here.changed:
                here.wish = state
                if here.assignment is not None and not here.taken:
                    here.assignment = None
                    here.reports.append(TakenBack(state))
                    here.changed.notify_all()

    async def rest(self, releases: int) -> None:
        """Wait until there have been more than so many releases."""
        async with self._released:
            await self._released.wait_for(lambda: self._releases > releases)

    async def release(self) -> None:
        """Let the lanes that rest go on."""
        async with self._released:
            self._releases += 1
            self._released.notify_all()

    async def close(self, group: str) -> None:
        """No assignment will follow: the group's workers end."""
        here = self._group(group)
        async with here.changed:
            here.closed = True
            here.changed.notify_all()

    def _group(self, group: str) -> _Group:
        return self._groups.setdefault(group, _Group())


def start_board(micro_batches: Mapping[str, int]) -> Any:
    """A handle of a new board actor on the head, which ends with the driver that started it."""
    actor = ray.remote(Board).options(num_cpus=0, resources=ON_HEAD, max_concurrency=1000)
    return actor.remote(draining_nodes, micro_batches)


def draining_nodes() -> Mapping[str, int]:
    """The nodes that Ray is asked to give back, by their ids."""
    from ray._private.state import state

    nodes: Mapping[str, int] = state.get_draining_nodes()
    return nodes
