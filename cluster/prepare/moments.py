"""The mean and the variance of numbers that arrive in parts, the same to the last digit however they are cut. Pure."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

# Numbers are put together in blocks of this many, wherever the parts end.
_BLOCK = 2**16
Numbers = npt.NDArray[np.float64]


class RunningMoments:
    """The mean and the variance of all numbers added so far; None before the first."""

    def __init__(self) -> None:
        self._count, self._mean, self._squares = 0, 0.0, 0.0
        self._waiting: Numbers = np.empty(0)

    def add(self, numbers: npt.NDArray[np.number]) -> None:
        """Add numbers."""
        self._waiting = np.concatenate([self._waiting, numbers.astype(np.float64)])
        for block in self._blocks():
            self._count, self._mean, self._squares = self._with_more(block)

    @property
    def mean(self) -> float | None:
        """Their mean."""
        count, mean, _ = self._with_more(self._waiting)
        return mean if count else None

    @property
    def variance(self) -> float | None:
        """Their mean squared distance from the mean."""
        count, _, squares = self._with_more(self._waiting)
        return squares / count if count else None

    def _blocks(self) -> Iterator[Numbers]:
        whole = len(self._waiting) // _BLOCK * _BLOCK
        blocks, self._waiting = self._waiting[:whole], self._waiting[whole:]
        yield from blocks.reshape(-1, _BLOCK)

    def _with_more(self, block: Numbers) -> tuple[int, float, float]:
        """Count, mean and sum of squared distances with one more block (Chan, Golub and LeVeque 1983)."""
        if not block.size:
            return self._count, self._mean, self._squares
        mean, count = float(block.mean()), self._count + block.size
        apart = mean - self._mean
        squares = float(((block - mean) ** 2).sum()) + apart**2 * self._count * block.size / count
        return count, self._mean + apart * block.size / count, self._squares + squares
