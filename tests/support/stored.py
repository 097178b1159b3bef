"""Simulated studies in a summary, so that what reads one can be tested without training: one file for each table."""

from pathlib import Path

import pyarrow as pa

from cluster.summary.encoding import encode
from cluster.summary.store import Summary
from tests.support.simulated import Tables


def store(folder: Path, tables: Tables, *, study: str = "simulated", file: str = "rows") -> Summary:
    """The summary in `folder`, with the study's tables added under another name, each in one `file`."""
    for name, table in zip(("studies", "trials", "evaluations"), tables, strict=True):
        place = folder / name / f"study={study}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{file}.parquet").write_bytes(encode(table.drop_columns(["study"])))
    return Summary(str(folder))


def changed(table: pa.Table, **columns: object) -> pa.Table:
    """A table with other values in whole columns, each a value for all rows or a list with one for each."""
    for name, value in columns.items():
        values = value if isinstance(value, list) else [value] * table.num_rows
        field = table.schema.field(name)
        table = table.set_column(table.schema.get_field_index(name), field, pa.array(values, field.type))
    return table
