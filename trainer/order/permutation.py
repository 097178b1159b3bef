"""The endless order: which row stands at which position, as pure arithmetic of (seed, position).

Position p is in epoch `p // rows`, and each epoch is one permutation of all rows, drawn from (seed, epoch), as a whole
or within windows (`trainer.order.window`). Nothing else matters: not the global batch, the workers, or what was read
before. So a trial resumes from one integer.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.order.shapes import Ints
from trainer.order.window import window_at


def rows_at(positions: range, *, rows: int, seed: int, window_rows: int | None = None) -> Ints:
    """The rows at contiguous `positions`, in order; int64 of shape [len(positions)]. No `window_rows`: a full shuffle.

    One permutation is kept between calls, the epoch's or the window's: 4 bytes per row (8 from 2**32 rows on), twice
    that while it is drawn.
    """
    parts = []
    start = positions.start
    while start < positions.stop:
        epoch, offset = divmod(start, rows)
        if window_rows is None:
            first, order = 0, _permutation(rows, seed, epoch)
        else:
            first, order = window_at(offset, rows=rows, seed=seed, epoch=epoch, window_rows=window_rows)
        stop = min(positions.stop, epoch * rows + first + len(order))
        parts.append(order[offset - first : offset - first + stop - start].astype(np.int64))
        start = stop
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


@lru_cache(maxsize=1)
def _permutation(rows: int, seed: int, epoch: int) -> npt.NDArray[Any]:
    """One epoch's permutation. Philox is keyed by (seed, epoch), so no epoch depends on the one before."""
    permutation = np.arange(rows, dtype=np.uint32 if rows < 2**32 else np.uint64)
    np.random.Generator(np.random.Philox(key=(epoch << 64) | (seed & (2**64 - 1)))).shuffle(permutation)
    return permutation
