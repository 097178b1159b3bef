"""The shapes in which rows are computed: padded to few lengths, packed by length, compiled for few sizes.

Pure. `trainer.model.packing` explains packing and applies it to tensors; here it is arithmetic on lengths.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
# The rows of a strand, and the places that its recurrence is compiled for.
CompiledShape = tuple[int, int]

# With few lengths, the memory allocator and, on a GPU, the kernels meet few shapes.
LENGTH_MULTIPLE = 8
PHASES = 4
ROWS_MULTIPLE = 4
TOKENS_AT_LEAST = 32
# Few numbers of rows occur in a strand: this many steps between two powers of two, none of them smaller than this.
STEPS, STEP_AT_LEAST = 8, 8


def padded(length: int) -> int:
    """The number of tokens to which rows are padded if the longest has `length`."""
    return int(up(length, LENGTH_MULTIPLE))


def up(number: Any, multiple: Any) -> Any:
    """The least multiple that is not below a number; for numbers or tensors."""
    return -(-number // multiple) * multiple


def widths(rows: Any) -> list[Any]:
    """The rows in each phase of a strand of `rows`; for numbers or tensors."""
    return [up(-(-rows * (PHASES - phase) // PHASES), ROWS_MULTIPLE) for phase in range(PHASES)]


def strand_rows(rows: int) -> int:
    """The rows with which a strand of `rows` is computed, rounded up to one of few numbers, so XLA compiles rarely."""
    return int(
        up(rows, ROWS_MULTIPLE if rows <= ROWS_MULTIPLE else max(STEP_AT_LEAST, power_of_two(rows + 1) // STEPS))
    )


def room(rows: int, places: int) -> int:
    """The places with which a strand of `rows` rows and `places` places is computed, one of few numbers."""
    return rows * power_of_two(max(TOKENS_AT_LEAST, -(-places // rows)))


def power_of_two(number: int) -> int:
    """The least power of two that is not below a positive number."""
    return 1 << (number - 1).bit_length()


def packed(lengths: Ints, strands: int) -> tuple[int, int]:
    """The rows and the places of each strand when rows of these lengths are packed."""
    rows = strand_rows(-(-len(lengths) // strands))
    falling, longest = np.zeros(rows + 1, np.int64), -np.sort(-lengths)[::strands]
    falling[: len(longest)] = longest
    width = widths(rows)
    ends = falling[[*width[1:], 0]]
    return rows, int(np.diff(ends, prepend=0) @ width)
