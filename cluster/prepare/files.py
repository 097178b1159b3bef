"""Files of any format as batches of raw rows."""

from collections.abc import Iterator

from cluster.prepare import lines, parquet
from cluster.prepare.batches import BATCH_ROWS, Batch, Columns
from cluster.prepare.sources import Source, opened


def read(source: Source, columns: Columns, batch_rows: int = BATCH_ROWS) -> Iterator[Batch]:
    """All rows of a file in order; at most `batch_rows` rows or about `BATCH_BYTES` bytes at a time."""
    reader = parquet.read if source.format == "parquet" else lines.read
    with opened(source) as path:
        yield from reader(source, path, columns, batch_rows)
