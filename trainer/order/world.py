"""Which worker this is, of how many."""

from dataclasses import dataclass


@dataclass(frozen=True)
class World:
    """Which worker this is (`rank`, from 0) of how many."""

    rank: int = 0
    workers: int = 1
