"""The board as a lane calls it: each call waits for its answer."""

from collections.abc import Callable
from typing import Any

import ray

from cluster.lanes.board import Assignment
from cluster.lanes.reports import Beat, WorkerReport
from cluster.lanes.station import Station
from trainer.report import State

SECONDS_BETWEEN_CHECKS = 2.0


class LaneBoard:
    """The board behind `handle`, the handle of its actor; `get` waits for what a call of it gives.

    Every method raises ray.exceptions.RayActorError when the board's process has ended.
    """

    def __init__(self, handle: Any, get: Callable[[Any], Any] = ray.get) -> None:
        self._handle, self._get = handle, get

    def post(self, group: str, assignment: Assignment) -> None:
        """Give a group its next assignment."""
        self._get(self._handle.post.remote(group, assignment))

    def hear(self, group: str) -> list[WorkerReport]:
        """The reports since the call before, as soon as there is one; none after SECONDS_BETWEEN_CHECKS."""
        heard: list[WorkerReport] = self._get(self._handle.hear.remote(group, SECONDS_BETWEEN_CHECKS))
        return heard

    def beats(self, group: str) -> list[Beat]:
        """The first and the last beat of the group's assignment; none before that."""
        beats: list[Beat] = self._get(self._handle.beats.remote(group))
        return beats

    def stations(self, group: str) -> list[Station]:
        """Where the workers of a group stand that have asked for an assignment."""
        stations: list[Station] = self._get(self._handle.stations.remote(group))
        return stations

    def largest(self, dtype: str) -> int | None:
        """The largest micro-batch of trials of a dtype by what ran out of memory so far; None while nothing has."""
        rows: int | None = self._get(self._handle.largest.remote(dtype))
        return rows

    def shrink(self, dtype: str, micro_batch: int) -> int:
        """Micro-batches of trials of a dtype are at most so large from now on, in every lane; returns how large."""
        rows: int = self._get(self._handle.shrink.remote(dtype, micro_batch))
        return rows

    def stop(self, group: str, state: State) -> None:
        """Wish that the group's trial ends in `state`."""
        self._get(self._handle.stop.remote(state, group))

    def rest(self, releases: int) -> None:
        """Wait until there have been more than so many releases."""
        self._get(self._handle.rest.remote(releases))
