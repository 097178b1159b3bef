"""The board: a study's one small actor, where lanes post assignments for their workers and receive their reports.

Each worker group has its own name. So a late report from a lane's earlier, lost group goes to a name that nobody
listens to any more.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import ray

from cluster.lanes.places import free_places_of_the_dead
from cluster.lanes.reports import Beat, Taken, TakenBack, WorkerReport
from cluster.lanes.station import Station
from cluster.study.at_once import RowsAtOnce
from trainer.report import State
from trainer.trial import TrialSpec

SECONDS_BETWEEN_LOOKS = 1.0
SECONDS_BETWEEN_FREEINGS = 5.0
# Each lane and each of its workers may wait here for the other side's next message. If more wait than calls may run at
# once, the message that they wait for is not read: with Ray's own 1,000, 500 lanes of one worker would stand still.
MOST_CALLS_AT_ONCE = 100_000
# Ray itself gives this resource to a cluster's head and to the only node of a local Ray. Drivers, lanes and the board
# compute nothing and belong on the one machine that is never reclaimed: whatever asks for a thousandth is placed there.
ON_HEAD = {"node:__internal_head__": 0.001}


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """A trial for the workers of one group; `serial` counts the group's assignments from 1.

    `micro_batch` is used for the trial's updates; `rows_at_once` bounds everything else that is computed.
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
    steps: int | None = None
    closed: bool = False
    reports: list[WorkerReport] = field(default_factory=list)
    beats: list[Beat] = field(default_factory=list)
    stations: dict[int, Station] = field(default_factory=dict)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)


class Board:
    """The state behind the actor; every method is one message.

    `draining` returns the nodes that are being reclaimed; `micro_batches` are the initial values of `largest`;
    `free_places` frees what lanes that were killed had reserved.
    """

    def __init__(
        self,
        draining: Callable[[], Mapping[str, int]],
        micro_batches: Mapping[str, int] = MappingProxyType({}),
        free_places: Callable[[], int] = lambda: 0,
    ) -> None:
        self._groups: dict[str, _Group] = {}
        self._wish: State | None = None
        self._micro_batches = dict(micro_batches)
        self._releases = 0
        self._released = asyncio.Condition()
        self._look = draining
        self._draining: set[str] = set()
        self._looked_at = float("-inf")
        self._free_places = free_places
        self._freed_at = float("-inf")

    async def post(self, group: str, assignment: Assignment) -> None:
        """Give a group its next assignment."""
        here = self._group(group)
        async with here.changed:
            here.assignment, here.serial, here.taken, here.wish = assignment, assignment.serial, False, None
            here.reports, here.beats, here.steps = [], [], None
            if self._wish is not None:
                here.assignment, here.reports = None, [TakenBack(self._wish)]
            here.changed.notify_all()

    async def take(self, group: str, rank: int, after: int, station: Station) -> Assignment | None:
        """Wait for the group's assignment with a serial above `after` and return it; None tells the worker to end."""
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
        """Take a report on the group's assignment from its rank 0; the last one takes the assignment off the board."""
        here = self._group(group)
        async with here.changed:
            if here.assignment is None:
                return
            here.reports.append(report)
            if last:
                here.assignment = None
            here.changed.notify_all()

    async def hear(self, group: str, timeout_seconds: float) -> list[WorkerReport]:
        """Wait for reports since the previous call and return them; the list is empty after the timeout."""
        here = self._group(group)
        async with here.changed:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(here.changed.wait_for(lambda: bool(here.reports)), timeout_seconds)
            reports, here.reports = here.reports, []
        if not reports:
            await self._free()
        return reports

    async def beat(self, group: str, serial: int, beat: Beat | None, steps: int) -> State | None:
        """Note the progress and the steps that rank 0 reports; return the state in which the trial must end, or None.

        A trial on a node that is being reclaimed (a spot machine with its notice, `ray drain-node`) must end as LOST:
        it saves a checkpoint first, so that none of its work is repeated.
        """
        here = self._group(group)
        if serial == here.serial:
            here.steps = steps
            if beat is not None:
                # The first beat shows where the attempt began, the last how far it came.
                here.beats = [*here.beats[:1], beat]
        if time.monotonic() - self._looked_at > SECONDS_BETWEEN_LOOKS:
            self._looked_at = time.monotonic()
            self._draining = set(await asyncio.to_thread(self._look))
        nodes = {station.node_id for station in here.stations.values()}
        return self._wish or here.wish or (State.LOST if nodes & self._draining else None)

    async def beats(self, group: str) -> list[Beat]:
        """The first and the last beat of the group's assignment: where it began and how far it came. Empty before."""
        return self._group(group).beats

    async def steps(self, group: str) -> int | None:
        """The steps that rank 0 has computed (`cluster.lanes.pulse`); None before its first beat of the assignment."""
        return self._group(group).steps

    async def shrink(self, kind: str, micro_batch: int) -> int:
        """Limit the micro-batches of trials of a `kind` to `micro_batch` rows in every lane; return the limit.

        When two lanes ran out of memory in the same micro-batch, the second does not halve it again.
        """
        self._micro_batches[kind] = min(self._micro_batches.get(kind, micro_batch), micro_batch)
        return self._micro_batches[kind]

    async def largest(self, kind: str) -> int | None:
        """The limit on micro-batches of trials of a `kind`; None if none of them has run out of memory yet."""
        return self._micro_batches.get(kind)

    async def stations(self, group: str) -> list[Station]:
        """The stations of the group's workers that have asked for an assignment."""
        return list(self._group(group).stations.values())

    async def stop(self, state: State, group: str | None = None) -> None:
        """Ask one group's trial, or every trial, to end in `state`; take back assignments that nobody took yet."""
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

    async def rest(self, releases: int, timeout_seconds: float | None) -> bool:
        """Wait until there have been more than `releases` releases; False if there were not after the timeout."""
        async with self._released:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._released.wait_for(lambda: self._releases > releases), timeout_seconds)
            return self._releases > releases

    async def release(self) -> None:
        """Let the resting lanes go on."""
        async with self._released:
            self._releases += 1
            self._released.notify_all()

    async def close(self, group: str) -> None:
        """Let the group's workers end: no assignment will follow."""
        here = self._group(group)
        async with here.changed:
            here.closed = True
            here.changed.notify_all()

    async def _free(self) -> None:
        """Free what killed lanes had reserved; whoever waits for a place may wait for one of these."""
        if time.monotonic() - self._freed_at > SECONDS_BETWEEN_FREEINGS:
            self._freed_at = time.monotonic()
            # Ray's head may not answer now: no trial fails for it, and the next look is in a moment.
            with contextlib.suppress(Exception):
                await asyncio.to_thread(self._free_places)

    def _group(self, group: str) -> _Group:
        if group not in self._groups:
            self._groups[group] = _Group()
        return self._groups[group]


def start_board(micro_batches: Mapping[str, int]) -> Any:
    """A handle of a new board actor on the head, which ends with the driver that started it."""
    actor = ray.remote(Board).options(num_cpus=0, resources=ON_HEAD, max_concurrency=MOST_CALLS_AT_ONCE)
    return actor.remote(draining_nodes, micro_batches, free_places_of_the_dead)


def draining_nodes() -> Mapping[str, int]:
    """The nodes that Ray has been asked to give back, by their ids."""
    from ray._private.state import state

    nodes: Mapping[str, int] = state.get_draining_nodes()
    return nodes
