"""How many rows repeat an earlier one, counted by the hashes of their words (or numbers).

All hashes of ten million rows take 80 MB. Where there are more, only those below a bound are kept, and the bound is
halved each time there are too many: an even sample of the distinct rows, whatever their order, as in
`cluster.prepare.repeats`.
"""

from dataclasses import dataclass

import numpy as np

from cluster.prepare.splits import Hashes

MOST_HASHES = 10_000_000


@dataclass(frozen=True)
class Sample:
    """The hashes of some rows below 2**(64 - halvings); of all rows if there was no halving."""

    hashes: Hashes
    halvings: int = 0

    def joined(self, *others: "Sample", most: int = MOST_HASHES) -> "Sample":
        """The hashes of all of them, sampled until they are at most so many."""
        halvings = max(self.halvings, *(one.halvings for one in others), 0)
        hashes = _below(np.concatenate([self.hashes, *(one.hashes for one in others)]), halvings)
        while len(hashes) > most:
            halvings += 1
            hashes = _below(hashes, halvings)
        return Sample(hashes, halvings)

    def duplicates(self) -> int:
        """How many rows repeat an earlier one; an estimate if it is a sample."""
        return (len(self.hashes) - len(np.unique(self.hashes))) << self.halvings


EMPTY = Sample(np.zeros(0, np.uint64))


def _below(hashes: Hashes, halvings: int) -> Hashes:
    return hashes[hashes <= np.uint64(2**64 - 1 >> halvings)] if halvings else hashes
