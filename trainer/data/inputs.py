"""What a row is to the model: token ids, one vector of numbers, or a sequence of vectors.

Token ids are padded with 0, which is no word. A vector of zeros can be data, so sequences of vectors are padded with
PADDING_NUMBER, the lowest float32, which `prepare` refuses as data: a position that holds nothing else is padding.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

TOKENS, VECTORS, SEQUENCES = KINDS = ("tokens", "vectors", "sequences")
PADDING_NUMBER = -(2.0**128 - 2.0**104)


@dataclass(frozen=True)
class Inputs:
    """The kind of a data set's rows (one of KINDS), and the numbers in each of its vectors (0 for tokens)."""

    kind: str = TOKENS
    width: int = 0

    @property
    def column(self) -> str:
        """The column of a shard that holds them."""
        return "tokens" if self.kind == TOKENS else "features"

    @property
    def dtype(self) -> str:
        """What a batch of them is made of."""
        return "int32" if self.kind == TOKENS else "float32"

    @property
    def padding(self) -> float:
        """What stands after a row's end."""
        return PADDING_NUMBER if self.kind == SEQUENCES else 0

    @property
    def shape(self) -> tuple[int | None, ...]:
        """The shape of one row, None for as many tokens or vectors as it has."""
        return {TOKENS: (None,), VECTORS: (self.width,), SEQUENCES: (None, self.width)}[self.kind]

    def empty(self, rows: int, length: int) -> npt.NDArray[Any]:
        """A batch of nothing but padding, `length` tokens or vectors a row."""
        shape = [length if size is None else size for size in self.shape]
        return np.full((rows, *shape), self.padding, self.dtype)


TEXT = Inputs()
