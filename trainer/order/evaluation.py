"""Which rows of a split are evaluated at once: chunks of about equal length, cut run by run.

Pure; `trainer.evaluate` says why. Runs, because a chunk of the whole split by length would need all of its shards.
"""

from collections.abc import Callable, Iterator

import numpy as np

from trainer.order import plan
from trainer.order.shapes import Ints

EVALUATION_ROWS = 256
# Of a language model's logits, [rows, tokens, vocabulary], an eighth as many rows take gigabytes already.
PARTS = {"classification": 1, "regression": 1, "language_model": 8}
RUN_ROWS = 8192


def rows_at_once(task: str, at_most: int | None = None) -> int:
    """The rows of a chunk, where `at_most` a number of them (None: EVALUATION_ROWS) may be computed at once."""
    return max(1, (EVALUATION_ROWS if at_most is None else at_most) // PARTS[task])


def chunks(lengths_of: Callable[[Ints], Ints], rows: int, *, task: str, at_most: int | None = None) -> Iterator[Ints]:
    """The numbers of all `rows` of a split, each once, in chunks of `rows_at_once`.

    `lengths_of` gives the tokens of rows by their numbers; it is asked for one run after the other.
    """
    for start in range(0, rows, RUN_ROWS):
        run = np.arange(start, min(start + RUN_ROWS, rows))
        for chunk in plan.micro_batches(lengths_of(run), micro_batch=rows_at_once(task, at_most)):
            yield run[chunk]


def shards_of_a_run(first: Ints) -> int:
    """The most shards in which a run has rows, and at least two; `first` is each shard's first row, and all rows."""
    rows = int(first[-1])
    starts = np.arange(0, rows, RUN_ROWS)
    lasts = np.minimum(starts + RUN_ROWS, rows) - 1
    before, after = (np.searchsorted(first, numbers, side="right") for numbers in (starts, lasts))
    return int((after - before).max(initial=1)) + 1
