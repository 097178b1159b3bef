"""The board as a lane calls it, where each call waits for its answer."""

from collections.abc import Callable
from typing import Any

import ray

from cluster.lanes.board import Assignment
from cluster.lanes.reports import Beat, WorkerReport
from cluster.lanes.station import Station
from trainer.report import State

SECONDS_BETWEEN_CHECKS = 1.0


class LaneBoard:
    """The board behind `handle`, the handle of its actor; `get` waits for the result of a remote call.

    Every method raises ray.exceptions.RayActorError when the board's process has ended.
    """

    def __init__(self, handle: Any, get: Callable[[Any], Any] = ray.get) -> None:
        self._handle, self._get = handle, get

    def post(self, group: str, assignment: Assignment) -> None:
        """Give a group its next assignment."""
        self._get(self._handle.post.remote(group, assignment))

    def hear(self, group: str) -> list[WorkerReport]:
        """Wait for reports since the previous call and return them; after SECONDS_BETWEEN_CHECKS the list is empty."""
        reports: list[WorkerReport] = self._get(self._handle.hear.remote(group, SECONDS_BETWEEN_CHECKS))
        return reports

    def heard(self, group: str) -> list[WorkerReport]:
        """The reports since the previous call that are there already, without waiting for any."""
        reports: list[WorkerReport] = self._get(self._handle.hear.remote(group, 0.0))
        return reports

    def beats(self, group: str) -> list[Beat]:
        """The first and the last beat of the group's assignment; empty before the first."""
        beats: list[Beat] = self._get(self._handle.beats.remote(group))
        return beats

    def steps(self, group: str) -> int | None:
        """The steps of the group's rank 0 on its assignment (`cluster.lanes.pulse`); None before its first beat."""
        steps: int | None = self._get(self._handle.steps.remote(group))
        return steps

    def stations(self, group: str) -> list[Station]:
        """The stations of the group's workers that have asked for an assignment."""
        stations: list[Station] = self._get(self._handle.stations.remote(group))
        return stations

    def largest(self, dtype: str) -> int | None:
        """The limit on micro-batches of trials of a dtype; None if none of them has run out of memory yet."""
        rows: int | None = self._get(self._handle.largest.remote(dtype))
        return rows

    def shrink(self, dtype: str, micro_batch: int) -> int:
        """Limit the micro-batches of trials of a dtype to `micro_batch` rows in every lane; return the limit."""
        rows: int = self._get(self._handle.shrink.remote(dtype, micro_batch))
        return rows

    def stop(self, group: str, state: State) -> None:
        """Ask the group's trial to end in `state`."""
        self._get(self._handle.stop.remote(state, group))

    def rest(self, releases: int, timeout_seconds: float | None = None) -> bool:
        """Wait until there have been more than `releases` releases; False if there were not after the timeout."""
        released: bool = self._get(self._handle.rest.remote(releases, timeout_seconds))
        return released
