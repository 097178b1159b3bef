"""Which updates have their gradient noise measured, and in how many parts (see `trainer.update.noise`)."""

EVERY = 100
PARTS = 8


def is_measured(update: int, *, global_batch: int) -> bool:
    """Whether update `update` (from 0) is measured: every EVERY-th, in any layout, if its batch has several rows."""
    return global_batch > 1 and update % EVERY == EVERY - 1


def part_rows(global_batch: int) -> int:
    """The most rows in a part of a measured batch: that makes at least two parts, and at least PARTS if possible."""
    return max(1, global_batch // PARTS)
