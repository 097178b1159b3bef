"""What all lanes of a study have in common."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cluster.study.at_once import RowsAtOnce

if TYPE_CHECKING:
    from cluster.lanes.attempt import Recorder


@dataclass(frozen=True, kw_only=True)
class LaneSettings:
    """What all lanes of a study have in common.

    `workers` and `micro_batches` are for each global batch; `rows_at_once` are what a worker begins with, for each
    dtype, of which less may fit. `memory_bytes` limits a worker, None for what the machine has.
    `seconds_for_workers` is how long a lane that lost a machine waits for another before it goes on with fewer workers.
    """

    study: str
    board: Any
    recorder: "Recorder"
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
    facts: Mapping[str, Any]
    storage: str

    @property
    def resources_per_worker(self) -> dict[str, float]:
        """What one worker takes of its node, as Ray counts."""
        wanted = {"CPU": self.cpus_per_worker, "GPU": self.gpus_per_worker}
        return {name: amount for name, amount in wanted.items() if amount}
