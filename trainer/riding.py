"""The numbers of a worker that ride in the all-reduce of an update."""

from typing import NamedTuple


class Riding(NamedTuple):
    """A worker's numbers that ride in the all-reduce of an update, and come back summed over the workers.

    `stop`, `time_up` and `evaluation_due` are 1 if rank 0 decides so; `part_rows_squared` and `parts_squared` belong to
    an update whose noise is measured (`trainer.update.noise`).
    """

    stop: float
    time_up: float
    evaluation_due: float
    real_tokens: float
    padded_tokens: float
    part_rows_squared: float
    parts_squared: float
