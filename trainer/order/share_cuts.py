"""A worker's share of an update in micro-batches: which of the update's rows are in each of them.

Pure; `trainer.data.share` reads the rows.
"""

import numpy as np

from trainer.order import measuring, plan
from trainer.order.shapes import Ints


def dealt(lengths: Ints, *, rank: int, workers: int, micro_batch: int) -> list[Ints]:
    """Which of an update's rows each micro-batch of worker `rank` has; `lengths` are the tokens of all rows."""
    mine = plan.dealt(lengths, rank=rank, workers=workers) if workers > 1 else np.arange(len(lengths))
    return [mine[chunk] for chunk in plan.micro_batches(lengths[mine], micro_batch=micro_batch)]


def in_order(rows: int, *, global_batch: int, micro_batch: int) -> list[Ints]:
    """Which rows each micro-batch of a measured share of `rows` rows has: consecutive ones."""
    part = min(micro_batch, measuring.part_rows(global_batch))
    return plan.micro_batches(np.zeros(rows, np.int64), micro_batch=part)
