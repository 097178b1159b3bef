"""Which rows of a split are evaluated at once: chunks of about equal length, cut run by run.

Pure; `trainer.evaluate` explains why the rows are cut in this way.
"""

from collections.abc import Callable, Iterator

import numpy as np

from trainer.order import plan
from trainer.order.shapes import Ints

EVALUATION_ROWS = 256
# The logits of a language model, [rows, tokens, vocabulary], take gigabytes, so it evaluates an eighth as many rows.
PARTS = {"classification": 1, "regression": 1, "language_model": 8}
RUN_ROWS = 8192


def rows_at_once(task: str, at_most: int | None = None) -> int:
    """The rows of a chunk, if at most `at_most` rows (None: EVALUATION_ROWS) may be computed at once."""
    return max(1, (EVALUATION_ROWS if at_most is None else at_most) // PARTS[task])


def chunks(lengths_of: Callable[[Ints], Ints], rows: int, *, task: str, at_most: int | None = None) -> Iterator[Ints]:
    """The numbers of all `rows` of a split, each once, in chunks of `rows_at_once`.

    `lengths_of` returns the number of tokens of each of the rows given by their numbers; it is called run by run.
    """
    for start in range(0, rows, RUN_ROWS):
        run = np.arange(start, min(start + RUN_ROWS, rows))
        for chunk in plan.micro_batches(lengths_of(run), micro_batch=rows_at_once(task, at_most)):
            yield run[chunk]


def shards_of_a_run(first: Ints) -> int:
    """The most shards that one run touches, at least two; `first` has each shard's first row, then the row count."""
    rows = int(first[-1])
    starts = np.arange(0, rows, RUN_ROWS)
    lasts = np.minimum(starts + RUN_ROWS, rows) - 1
    before, after = (np.searchsorted(first, numbers, side="right") for numbers in (starts, lasts))
    return int((after - before).max(initial=1)) + 1
