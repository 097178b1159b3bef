"""The names of a source's columns, before any row is read."""

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.prepare import delimited, jsonl
from cluster.prepare.batches import Columns
from cluster.prepare.sources import Source, opened
from trainer.errors import InputError


def columns_of(source: Source, columns: Columns) -> tuple[str, ...]:
    """The names in a header, in the first object, or in a schema; those of the label and group are among them.

    Raises:
        InputError: the file cannot be read as what its ending says.
    """
    if source.format in ("csv", "tsv"):
        return delimited.header(source, [name for name in (columns.label, columns.group) if name is not None])
    with opened(source) as path:
        if source.format == "jsonl":
            first = next(jsonl.records(source, path, Columns(text=None, label=None)), (0, {}))
            return tuple(first[1])
        try:
            return tuple(pq.read_schema(str(path)).names)
        except (pa.ArrowException, OSError) as problem:
            raise InputError(f"{source.name} cannot be read as Parquet ({problem}): write it again") from problem
