"""How many rows of validation and test are, to the model, rows of a split before theirs.

Texts of the same words share a split. What is left are texts that differ in words outside the vocabulary alone: they
are the same tokens, with unknown ones among them. Which these are is known only when the vocabulary is, so they are
counted, and the count is said.

Counting needs the hash of each row with an unknown token. Of very many rows only the hashes below a bound are held,
which is halved each time there are too many: an even sample of the distinct sequences, whatever the order of the rows.
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
        """Of each split, how many rows have the tokens of a row of a split before it; of a sample, about how many."""
        before = np.zeros(0, np.uint64)
        found = []
        for parts in self._held:
            here = np.concatenate([np.zeros(0, np.uint64), *parts])
            found.append(int(np.isin(here, before).sum()) << self._halvings)
            before = np.union1d(before, here)
        return found

    def _sampled(self, sequences: Hashes) -> Hashes:
        return sequences[sequences <= np.uint64(2**64 - 1 >> self._halvings)]
