"""What a probe measures, and in which order. Pure."""

import random
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from trainer.order.shapes import Ints

Cell = TypeVar("Cell")

# The smallest micro-batch measured, and how much larger each next one is.
FIRST_MICRO_BATCH = 8
GROWTH = 4
# Enough rows for the line to rise above what a process holds anyway, if the study's own shares are small.
LARGEST_AT_LEAST = 512


def micro_batches(largest_share: int, rows: int) -> list[int]:
    """The micro-batches whose memory is measured, rising: up to the largest share, and far enough to see a line.

    `rows` is the number of rows of the train split, which no micro-batch exceeds.
    """
    largest = min(rows, max(largest_share, LARGEST_AT_LEAST))
    sizes = [largest]
    while sizes[-1] // GROWTH >= min(FIRST_MICRO_BATCH, largest):
        sizes.append(sizes[-1] // GROWTH)
    return sorted(sizes)


def between(sizes: Sequence[int]) -> int | None:
    """A micro-batch between the two largest of rising `sizes`, to be held out of the fit; None if there is none."""
    if len(sizes) < 2 or sizes[-1] - sizes[-2] < 2:
        return None
    return (sizes[-2] + sizes[-1]) // 2


def interleaved(cells: Sequence[Cell], *, blocks: int, seed: int) -> list[list[Cell]]:
    """Each cell once in each block, in a new random order per block, so that all cells share any drift."""
    shuffle = random.Random(seed)
    return [shuffle.sample(list(cells), len(cells)) for _ in range(blocks)]


def updates_in_block(seconds: float) -> int:
    """The updates of a block, given the seconds of one: a third of a second, but at least 6 or, if fewer, a second.

    In 5 blocks this gives 30 updates or 5 seconds, and more of short updates, whose times scatter most.
    """
    return max(1, round(0.3 / seconds), min(6, round(1.0 / seconds)))


def longest(lengths: Ints, count: int) -> Ints:
    """The indices of the `count` longest of rows with these lengths, which repeat if there are fewer."""
    return np.resize(np.argsort(-lengths, kind="stable")[:count], count)
