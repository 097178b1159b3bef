"""Which updates have their gradient noise measured, and in how many parts (`trainer.update.noise` says what for)."""

EVERY = 100
PARTS = 8


def is_measured(update: int, *, global_batch: int) -> bool:
    """Whether update `update` (from 0) is: every EVERY-th, whatever the layout; a batch of one row has no parts."""
    return global_batch > 1 and update % EVERY == EVERY - 1


def part_rows(global_batch: int) -> int:
    """The most rows in a part of a measured batch, which is then cut into at least two, and PARTS where it can be."""
    return max(1, global_batch // PARTS)
