"""A worker's memory as a line: bytes = base + slope x places, where places are the tokens of a micro-batch, padded.

Pure. A model of memory is guessed from a study's numbers or fitted to a probe's measurements; both are used alike.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class MemoryModel:
    """What one worker's process needs: `base_bytes` before any row, `bytes_per_place` for each place of a micro-batch.

    A place is one token of one row, padding included. `measured` is False for a guess.
    """

    base_bytes: float
    bytes_per_place: float
    measured: bool

    def bytes_at(self, *, micro_batch: int, length: int) -> float:
        """The most bytes held while `micro_batch` rows padded to `length` tokens go through the model."""
        return self.base_bytes + self.bytes_per_place * micro_batch * length

    def most_rows(self, *, limit_bytes: float, length: int, margin: float = 0.1) -> int:
        """The most rows of `length` tokens within `limit_bytes` less the `margin` (a part of it); 0 if none fits."""
        room = limit_bytes * (1 - margin) - self.base_bytes
        return max(0, int(room // (self.bytes_per_place * length)))
