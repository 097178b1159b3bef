"""What all lanes of a study have in common."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from cluster.study.at_once import RowsAtOnce


class Recorder(Protocol):
    """Where attempts are written: the central summary, which the driver hands to the lanes."""

    def next_attempt(self, study: str, trial_id: str) -> int:
        """The number of a trial's next attempt."""

    def attempt_started(self, study: str, trial_id: str, attempt: int, fields: Mapping[str, Any]) -> None:
        """Mark that an attempt begins."""

    def write_evaluations(self, rows: Sequence[Mapping[str, Any]], *, part: int) -> None:
        """Write some evaluations of one attempt."""

    def write_trial(self, row: Mapping[str, Any]) -> None:
        """Write the attempt's row."""


@dataclass(frozen=True, kw_only=True)
class LaneSettings:
    """What all lanes of a study have in common.

    `workers` and `micro_batches` are given for each global batch. `rows_at_once` are the rows with which a worker
    begins, for each dtype; fewer may fit. `memory_bytes` limits a worker; None for all that the machine has.
    `seconds_for_workers` is how long a lane that lost a machine waits for another before it goes on with fewer workers;
    `seconds_without_step` how long a group may compute nothing before it counts as hanging (`cluster.lanes.pulse`).
    """

    study: str
    board: Any
    recorder: Recorder
    data: str
    train_rows: int
    checkpoints: str
    checkpoint_every_seconds: float
    workers: Mapping[int, int]
    cpus_per_worker: float
    gpus_per_worker: float
    threads: int
    micro_batches: Mapping[int, int]
    rows_at_once: Mapping[str, RowsAtOnce]
    memory_bytes: int | None
    seconds_for_workers: float
    seconds_without_step: float
    facts: Mapping[str, Any]
    storage: str

    @property
    def resources_per_worker(self) -> dict[str, float]:
        """What one worker takes of its node, as Ray counts."""
        wanted = {"CPU": self.cpus_per_worker, "GPU": self.gpus_per_worker}
        return {name: amount for name, amount in wanted.items() if amount}
