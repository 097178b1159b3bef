"""The model's input for a row: token ids, one vector of numbers, or a sequence of vectors.

Token ids are padded with 0, which is not a word. A vector of zeros can be data, so sequences of vectors are padded with
PADDING_NUMBER, the lowest float32, which `prepare` refuses as data: a vector of nothing else is padding.
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
        """The column of a shard that holds the inputs."""
        return "tokens" if self.kind == TOKENS else "features"

    @property
    def dtype(self) -> str:
        """The dtype of a batch of inputs."""
        return "int32" if self.kind == TOKENS else "float32"

    @property
    def padding(self) -> float:
        """The value that fills a row after its end."""
        return PADDING_NUMBER if self.kind == SEQUENCES else 0

    @property
    def shape(self) -> tuple[int | None, ...]:
        """The shape of one row; None stands for its number of tokens or vectors."""
        return {TOKENS: (None,), VECTORS: (self.width,), SEQUENCES: (None, self.width)}[self.kind]

    def empty(self, rows: int, length: int) -> npt.NDArray[Any]:
        """A batch of nothing but padding, with `length` tokens or vectors per row."""
        shape = [length if size is None else size for size in self.shape]
        return np.full((rows, *shape), self.padding, self.dtype)


TEXT = Inputs()
