"""The layouts that `trainer.check` compares: ways to cut one batch that must all give one gradient. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

# Large enough to be cut unevenly, small enough to take seconds and to fit where a micro-batch does.
ROWS_AT_MOST = 64
SMALL_MICRO_BATCH = 5
PIECE_ROWS = 7


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Pieces of `piece` consecutive positions, each cut into micro-batches of at most `micro_batch` rows.

    `shared` by all workers or on one alone; `measured` as an update whose noise is measured.
    """

    micro_batch: int
    piece: int
    shared: bool = False
    measured: bool = False


def layouts(batch: int, *, micro_batch: int) -> tuple[Layout, ...]:
    """The layouts of a batch of `batch` rows; the first, all rows at once, is what the others are compared with.

    The second is the same once more: whether it repeats to the last bit.
    """
    whole = Layout(micro_batch=batch, piece=batch)
    return (
        whole,
        whole,
        Layout(micro_batch=micro_batch, piece=batch),
        # Pieces in the order of the rows: sorted by length they would have twice as many shapes to compile, for seconds
        # each.
        Layout(micro_batch=SMALL_MICRO_BATCH, piece=SMALL_MICRO_BATCH),
        Layout(micro_batch=micro_batch, piece=batch, shared=True),
        Layout(micro_batch=micro_batch, piece=batch, shared=True, measured=True),
    )


def pieces(positions: range, size: int) -> Iterator[range]:
    """The positions in pieces of `size`, the last one perhaps smaller."""
    return (positions[start : start + size] for start in range(0, len(positions), size))


def evaluated(rows: int) -> list[range]:
    """The rows that are evaluated at once: first all `rows`, then in uneven pieces."""
    return [range(rows), *pieces(range(rows), PIECE_ROWS)]
