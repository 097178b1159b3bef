"""The windowed shuffle: an order for an epoch that needs only a part of the data at a time.

The rows are cut into contiguous blocks of ceil(window_rows / 8). Each epoch draws an order of the blocks from (seed,
epoch); every 8 blocks in that order form a window, and the rows of a window are permuted by (seed, epoch, window). So
each row occurs once in an epoch, and nothing else matters: neither the workers nor how the rows are cut into files.
With window_rows >= rows there is one window, and any order of the rows can be drawn. With less, rows of one block
always stay near each other, which matters if the data are sorted (by label, by time).
"""

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.order.shapes import Ints

BLOCKS = 8
# The full shuffle's keys have the epoch in their upper half: this bit keeps the two apart.
_STREAM = 1 << 127


def window_at(offset: int, *, rows: int, seed: int, epoch: int, window_rows: int) -> tuple[int, npt.NDArray[Any]]:
    """The window in which the epoch's `offset` lies: the offset of its first row, and its rows in order.

    One window's rows and one epoch's order of blocks are kept between calls, 4 bytes each (8 from 2**32 rows on).
    """
    firsts, _ = _blocks(rows, seed, epoch, window_rows)
    number = int(np.searchsorted(firsts, offset, side="right")) - 1
    return int(firsts[number]), _window(number, rows, seed, epoch, window_rows)


def shards_needed(first: Ints, window_rows: int | None) -> int:
    """The most shards that two windows can touch, or all of them without windows; at least one.

    There are two windows, because the reader is already in the next one while the last rows of this one are used. Shard
    i has the rows from `first[i]` up to `first[i + 1]`.
    """
    rows, shards = int(first[-1]), len(first) - 1
    if window_rows is None:
        return max(1, shards)
    starts = np.arange(0, rows, _block_rows(window_rows))
    lasts = np.minimum(starts + _block_rows(window_rows), rows) - 1
    touched = np.searchsorted(first, lasts, side="right") - np.searchsorted(first, starts, side="right") + 1
    return max(1, min(shards, int(np.sort(touched)[-2 * BLOCKS :].sum())))


def _block_rows(window_rows: int) -> int:
    return -(-window_rows // BLOCKS)


def _philox(seed: int, epoch: int, window: int) -> np.random.Generator:
    """The generator of a window; window 0 is the order of the blocks. Each has 2**128 numbers of its own."""
    key = _STREAM | (epoch << 64) | (seed & (2**64 - 1))
    return np.random.Generator(np.random.Philox(key=key, counter=window << 128))


def _type(rows: int) -> type[np.unsignedinteger[Any]]:
    return np.uint32 if rows < 2**32 else np.uint64


@lru_cache(maxsize=1)
def _blocks(rows: int, seed: int, epoch: int, window_rows: int) -> tuple[Ints, npt.NDArray[Any]]:
    """The first offset of each window of an epoch, and the order of its blocks."""
    size = _block_rows(window_rows)
    order = np.arange(-(-rows // size), dtype=_type(rows))
    last = len(order) - 1
    _philox(seed, epoch, 0).shuffle(order)
    firsts = np.arange(0, len(order), BLOCKS, dtype=np.int64) * size
    # The last block of the rows may be shorter: windows after the one that contains it begin earlier.
    firsts[int(np.flatnonzero(order == last)[0]) // BLOCKS + 1 :] -= (last + 1) * size - rows
    return firsts, order


@lru_cache(maxsize=1)
def _window(number: int, rows: int, seed: int, epoch: int, window_rows: int) -> npt.NDArray[Any]:
    """The rows of one window in order."""
    size = _block_rows(window_rows)
    _, order = _blocks(rows, seed, epoch, window_rows)
    starts = [int(block) * size for block in order[number * BLOCKS : (number + 1) * BLOCKS]]
    window = np.concatenate([np.arange(start, min(start + size, rows), dtype=_type(rows)) for start in starts])
    _philox(seed, epoch, number + 1).shuffle(window)
    return window
