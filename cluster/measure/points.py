"""What is measured, and in which order. Pure."""

import random
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from trainer.order.shapes import Ints

Cell = TypeVar("Cell")

# The smallest micro-batch measured, and how much larger each next one is.
FIRST_MICRO_BATCH = 8
GROWTH = 4
# Rows enough for a line to show above what a process holds anyway, where the study's own shares are small.
LARGEST_AT_LEAST = 512


def micro_batches(largest_share: int, rows: int) -> list[int]:
    """The micro-batches whose memory is measured, rising: as far as the largest share, and far enough to see a line.

    `rows` are those of the train split: no micro-batch is larger.
    """
    largest = min(rows, max(largest_share, LARGEST_AT_LEAST))
    sizes = [largest]
    while sizes[-1] // GROWTH >= min(FIRST_MICRO_BATCH, largest):
        sizes.append(sizes[-1] // GROWTH)
    return sorted(sizes)


def between(sizes: Sequence[int]) -> int | None:
    """A micro-batch between the two largest of rising `sizes`, held out from the fit; None where there is none."""
    if len(sizes) < 2 or sizes[-1] - sizes[-2] < 2:
        return None
    return (sizes[-2] + sizes[-1]) // 2


def interleaved(cells: Sequence[Cell], *, blocks: int, seed: int) -> list[list[Cell]]:
    """Each cell once in each block, in a random order of its own: what drifts meanwhile is shared by all cells."""
    shuffle = random.Random(seed)
    return [shuffle.sample(list(cells), len(cells)) for _ in range(blocks)]


def updates_in_block(seconds: float) -> int:
    """The updates of a block, given what one took: a third of a second of them, and at least 6 or a second.

    In 5 blocks that makes 30 updates or 5 seconds, and more of the short ones, whose times scatter most.
    """
    return max(1, round(0.3 / seconds), min(6, round(1.0 / seconds)))


def longest(lengths: Ints, count: int) -> Ints:
    """The numbers of the `count` longest of rows with these lengths; again and again if there are fewer."""
    return np.resize(np.argsort(-lengths, kind="stable")[:count], count)
