"""Rows of one split by number, from memory-mapped shards, as padded arrays; and reading ahead.

Tokens stand for numbers too: a vector has its numbers where a text has its tokens, and a sequence has its vectors
(`trainer.data.inputs`).

Three numbers could be confused: a *position* is a place in the endless order (`trainer.order.permutation`); a *row* is
the number of the row at that place, from 0 up to the split's rows; *within* is that number minus the first row of its
shard.
"""

from collections import OrderedDict, deque
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from trainer.data.inputs import TEXT, VECTORS, Inputs
from trainer.data.manifest import Split
from trainer.data.shards import OpenShard, open_shard
from trainer.data.store import Store
from trainer.order.shapes import Ints, padded

# Up to this many rows in a shard, copying each is faster than one gather of windows: 10 us against 11 for 16 rows of
# 150 tokens, 25 against 15 for 64, 83 against 35 for 256. (A gather with an index for each token took 14, 34 and 117.)
FEW_ROWS = 16


class Rows:
    """A split whose shards are opened when one of their rows is asked for; `first[i]` is the first row of shard i."""

    def __init__(self, data: Store, split: Split, inputs: Inputs) -> None:
        self._data, self._shards, self._inputs = data, split.shards, inputs
        self.first: Ints = np.cumsum([0, *(shard.rows for shard in split.shards)]).astype(np.int64)
        self._most_open = len(split.shards)
        self._open: OrderedDict[int, OpenShard] = OrderedDict()

    def __len__(self) -> int:
        return int(self.first[-1])

    def keep_open(self, shards: int) -> None:
        """From now on keep at most `shards` shards open, those used last; before the first call, all stay open."""
        self._most_open = shards
        self._close_others()

    def lengths(self, rows: Ints) -> Ints:
        """The number of tokens of each of `rows`, [len(rows)]."""
        lengths = np.empty(len(rows), np.int64)
        for shard, here, within in self._by_shard(rows):
            lengths[here] = shard.offsets[within + 1] - shard.offsets[within]
        return lengths

    def tokens(self, rows: Ints) -> npt.NDArray[Any]:
        """Right-padded token ids of `rows`, int32 [len(rows), the longest of them, rounded up by `padded`].

        Or vectors, float32 [len(rows), width]; or sequences of vectors, float32 [len(rows), longest as above, width].
        """
        inputs, longest = self._inputs, int(self.lengths(rows).max(initial=1))
        width = inputs.width if inputs.kind == VECTORS else padded(longest)
        tokens = inputs.empty(len(rows), width)
        for shard, here, within in self._by_shard(rows):
            starts, stops = shard.offsets[within], shard.offsets[within + 1]
            if len(within) > FEW_ROWS and tokens.ndim == 2 and int(starts.max()) + width <= len(shard.tokens):
                real = np.arange(width, dtype=np.int32) < (stops - starts)[:, None]
                tokens[here] = _windows(shard.tokens, width)[starts] * real
                continue
            places = np.arange(len(rows))[here].tolist()
            for place, start, stop in zip(places, starts.tolist(), stops.tolist(), strict=True):
                tokens[place, : stop - start] = shard.tokens[start:stop]
        return tokens

    def labels(self, rows: Ints) -> npt.NDArray[np.generic]:
        """The labels of `rows`, [len(rows)]: int32 class numbers (0 if the data have no labels) or float32."""
        labels: npt.NDArray[np.generic] | None = None
        for shard, here, within in self._by_shard(rows):
            if labels is None:
                labels = np.empty(len(rows), shard.labels.dtype)
            labels[here] = shard.labels[within]
        return np.empty(0, np.int32) if labels is None else labels

    def _by_shard(self, rows: Ints) -> Iterator[tuple[OpenShard, Ints | slice, Ints]]:
        """The shards that hold any of `rows`: (shard, which of `rows`, their places within it)."""
        if len(self._shards) == 1:
            yield self._open.get(0) or self._shard(0), slice(None), rows
            return
        order = np.argsort(rows)
        ordered = rows[order]
        owners = np.searchsorted(self.first, ordered, side="right") - 1
        within = ordered - self.first[owners]
        cuts = [0, *(np.flatnonzero(owners[1:] != owners[:-1]) + 1).tolist(), len(rows)]
        for start, stop in pairwise(cuts if len(rows) else []):
            yield self._shard(int(owners[start])), order[start:stop], within[start:stop]

    def _shard(self, number: int) -> OpenShard:
        if (shard := self._open.get(number)) is None:
            shard = self._open[number] = open_shard(self._data, self._shards[number])
            self._close_others()
        else:
            self._open.move_to_end(number)
        return shard

    def _close_others(self) -> None:
        while len(self._open) > self._most_open:
            self._open.popitem(last=False)


def _windows(tokens: npt.NDArray[Any], width: int) -> npt.NDArray[Any]:
    """The `width` tokens from each token on, as a view [len(tokens) - width + 1, width]; NumPy checks its bounds."""
    strides = (tokens.itemsize, tokens.itemsize)
    return np.ndarray((len(tokens) - width + 1, width), tokens.dtype, tokens, strides=strides)


def open_rows(data: Store, split: Split, inputs: Inputs = TEXT) -> Rows:
    """The rows of one split of the prepared data set at `data`; nothing is fetched yet."""
    return Rows(data, split, inputs)


Item = TypeVar("Item")


def read_ahead(items: Iterator[Item], depth: int = 3) -> Generator[Item, None, None]:
    """The same items, made by another thread up to `depth` items ahead, so that reading hides behind computing."""
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as pool:
        pending = deque(pool.submit(next, items, None) for _ in range(depth))
        try:
            while (item := pending.popleft().result()) is not None:
                pending.append(pool.submit(next, items, None))
                yield item
        finally:
            for future in pending:
                future.cancel()
