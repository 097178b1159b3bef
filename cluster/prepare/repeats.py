"""Counting rows of validation and test that, to the model, are the same as rows of an earlier split.

Texts with the same words share a split. But texts that differ only in words outside the vocabulary have the same
tokens, some of them unknown. They can be found only once the vocabulary is known, so they are counted and the count is
reported.

Counting needs the hash of each row with an unknown token. If there are very many, only hashes below a bound are kept,
and the bound is halved each time there are too many: an even sample of the distinct sequences, whatever the order of
the rows.
"""

import numpy as np

from cluster.prepare.splits import Hashes
from trainer.data.manifest import SPLITS

MOST_HASHES = 2**23


class Repeats:
    """The hashes of the rows with unknown tokens, by split."""

    def __init__(self, most: int = MOST_HASHES) -> None:
        self._most, self._halvings, self._count = most, 0, 0
        self._held: list[list[Hashes]] = [[] for _ in SPLITS]

    def add(self, split: int, sequences: Hashes) -> None:
        """Add rows of a split."""
        self._held[split].append(self._sampled(sequences))
        self._count += len(self._held[split][-1])
        while self._count > self._most:
            self._halvings += 1
            self._held = [[self._sampled(np.concatenate(parts))] if parts else [] for parts in self._held]
            self._count = sum(len(part) for parts in self._held for part in parts)

    def counts(self) -> list[int]:
        """For each split, how many rows have the tokens of a row of an earlier split; an estimate if it is a sample."""
        before = np.zeros(0, np.uint64)
        counts = []
        for parts in self._held:
            here = np.concatenate([np.zeros(0, np.uint64), *parts])
            counts.append(int(np.isin(here, before).sum()) << self._halvings)
            before = np.union1d(before, here)
        return counts

    def _sampled(self, sequences: Hashes) -> Hashes:
        return sequences[sequences <= np.uint64(2**64 - 1 >> self._halvings)]
