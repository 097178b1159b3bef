"""Rows of one split by number, from memory-mapped shards, as padded arrays; and reading ahead.

Three numbers could be confused: a *position* stands in the endless order (`trainer.order`); a *row* is what stands
there, from 0 to the split's rows; the row's place *within* its shard is that minus the shard's first row.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from trainer.manifest import Split
from trainer.shards import OpenShard, open_shard

Ints = npt.NDArray[np.int64]
# Few lengths keep the memory allocator's and, on a GPU, the kernels' shapes few.
LENGTH_MULTIPLE = 8


@dataclass(frozen=True)
class Rows:
    """An open split; `first[i]` is the first row of shard i, and `first[-1]` the number of rows."""

    shards: tuple[OpenShard, ...]
    first: Ints

    def __len__(self) -> int:
        return int(self.first[-1])

    def lengths(self, rows: Ints) -> Ints:
        """The number of tokens of each of `rows`, [len(rows)]."""
        lengths = np.empty(len(rows), np.int64)
        for shard, here, within in self._by_shard(rows):
            lengths[here] = shard.offsets[within + 1] - shard.offsets[within]
        return lengths

    def tokens(self, rows: Ints) -> npt.NDArray[np.int32]:
        """Right-padded token ids of `rows`: [len(rows), longest of them, up to a multiple of LENGTH_MULTIPLE]."""
        lengths = self.lengths(rows)
        width = -(-int(lengths.max(initial=1)) // LENGTH_MULTIPLE) * LENGTH_MULTIPLE
        places = np.arange(width)
        tokens = np.zeros((len(rows), width), np.int32)
        real = places < lengths[:, None]
        for shard, here, within in self._by_shard(rows):
            wanted = shard.offsets[within].astype(np.int64)[:, None] + places
            part = np.zeros(wanted.shape, np.int32)
            part[real[here]] = shard.tokens[wanted[real[here]]]
            tokens[here] = part
        return tokens

    def labels(self, rows: Ints) -> npt.NDArray[np.generic]:
        """The labels of `rows`, [len(rows)]: int32 class numbers or float32."""
        labels = np.empty(len(rows), self.shards[0].labels.dtype)
        for shard, here, within in self._by_shard(rows):
            labels[here] = shard.labels[within]
        return labels

    def _by_shard(self, rows: Ints) -> Iterator[tuple[OpenShard, npt.NDArray[np.bool_] | slice, Ints]]:
        """The shards that hold any of `rows`: (shard, which of `rows`, their places within it)."""
        if len(self.shards) == 1:
            yield self.shards[0], slice(None), rows
            return
        owners = np.searchsorted(self.first, rows, side="right") - 1
        for owner in np.unique(owners):
            here = owners == owner
            yield self.shards[owner], here, rows[here] - self.first[owner]


def open_rows(data: str, split: Split) -> Rows:
    """The rows of one split of the prepared data set in the folder `data`."""
    counts = [0, *(shard.rows for shard in split.shards)]
    return Rows(tuple(open_shard(data, shard) for shard in split.shards), np.cumsum(counts).astype(np.int64))


Item = TypeVar("Item")


def read_ahead(items: Iterator[Item], depth: int = 3) -> Iterator[Item]:
    """The same items, made by another thread up to `depth` ahead, so that reading hides behind computing."""
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as pool:
        pending = deque(pool.submit(next, items, None) for _ in range(depth))
        try:
            while (item := pending.popleft().result()) is not None:
                pending.append(pool.submit(next, items, None))
                yield item
        finally:
            for future in pending:
                future.cancel()
