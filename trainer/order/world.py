"""The rank of this worker and the number of workers."""

from dataclasses import dataclass


@dataclass(frozen=True)
class World:
    """Which worker this is (`rank`, from 0) of how many."""

    rank: int = 0
    workers: int = 1
