"""The answer to a query in types that tables, JSON, CSV and Parquet can all hold; anything else as DuckDB's own text.

An interval, for example, becomes `1 day 03:04:05`, which people and pandas can read; for Arrow it is an object of its
own, which Parquet cannot hold. The text is exact, also for whole numbers of more than 64 bits and for dates after 9999.
"""

from collections.abc import Sequence
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

_TEMPORAL = {"date", "timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns", "timestamp with time zone"}
_NUMBERS = {"tinyint", "smallint", "integer", "bigint", "utinyint", "usmallint", "uinteger", "ubigint", "hugeint"}
_HELD = {"boolean", "float", "double", "decimal", "varchar", "enum", "null", "time"} | _NUMBERS | _TEMPORAL
_NESTED = {"list", "array", "struct", "map"}


def portable(connection: duckdb.DuckDBPyConnection, answer: duckdb.DuckDBPyRelation) -> pa.Table:
    """The rows of `answer`, with unique column names."""
    names = _unique(answer.columns)
    rows = _with_texts(answer, [not _is_held(kind) for kind in answer.types])
    late = [_is_beyond_calendar(column) for column in rows.columns]
    if any(late):
        rows = _with_texts(connection.from_arrow(rows), late)
    return pa.table([_plain(column) for column in rows.columns], names=names)


def _with_texts(answer: duckdb.DuckDBPyRelation, texts: Sequence[bool]) -> pa.Table:
    """The rows, with some columns as text. Columns are named by number, because names need not be unique."""
    columns = [
        f"#{number}::varchar as c{number}" if text else f"#{number} as c{number}"
        for number, text in enumerate(texts, start=1)
    ]
    return answer.project(", ".join(columns)).to_arrow_table()


def _is_held(kind: Any) -> bool:
    """Whether a DuckDB type can be held everywhere; an inner whole number of 128 bits cannot, nor an empty struct."""
    if kind.id not in _NESTED:
        return kind.id in _HELD
    parts = [part for name, part in kind.children if name != "size"]
    return bool(parts) and all(_is_held(part) and part.id != "hugeint" for part in parts)


def _is_beyond_calendar(column: pa.ChunkedArray) -> bool:
    """Whether a date or time in the column is outside of the years 1 to 9999, such as `infinity`."""
    if not _has_times(column.type):
        return False
    flat = pa.types.is_date(column.type) or pa.types.is_timestamp(column.type)
    try:
        # Each value of 100,000 takes half a second.
        _ = pc.min_max(column).as_py() if flat else column.to_pylist()
    except (OverflowError, ValueError):
        return True
    return False


def _has_times(kind: pa.DataType) -> bool:
    return pa.types.is_temporal(kind) or any(_has_times(kind.field(place).type) for place in range(kind.num_fields))


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Whole decimals (a sum is a HUGEINT) as int64, or as text if they do not fit; other decimals as floats."""
    if not pa.types.is_decimal(column.type):
        return column
    if column.type.scale:
        return column.cast(pa.float64())
    try:
        return column.cast(pa.int64())
    except pa.ArrowInvalid:
        return column.cast(pa.string())


def _unique(names: Sequence[str]) -> list[str]:
    found: list[str] = []
    for name in names:
        number, unique = 1, name
        while unique in found:
            unique, number = f"{name}_{number}", number + 1
        found.append(unique)
    return found
