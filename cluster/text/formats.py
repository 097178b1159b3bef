"""A table for a program: JSON, CSV or Parquet."""

import csv
import io
import json
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.text.plain import plain

SCHEMA_VERSION = 1


def to_json(table: pa.Table, *, name: str, more: Mapping[str, Any] | None = None) -> str:
    """One object with `schema_version`, `table`, the keys of `more`, and `rows`.

    JSON has no NaN and no infinity, so they become null.
    """
    rows = [{key: json_value(value) for key, value in row.items()} for row in table.to_pylist()]
    fields = {"schema_version": SCHEMA_VERSION, "table": name, **(more or {}), "rows": rows}
    # A date or a time of day is written as ISO 8601 has it.
    return json.dumps(fields, indent=2, default=str) + "\n"


def document(**fields: Any) -> str:
    """One JSON object with `schema_version` and these keys, for a program."""
    return json.dumps({"schema_version": SCHEMA_VERSION, **json_value(fields)}, indent=2) + "\n"


def nested_text(value: Any) -> str:
    """A list or an object in a cell, as JSON on one line."""
    return json.dumps(json_value(value), ensure_ascii=False, default=str)


def json_value(value: Any) -> Any:
    """A value of a table as JSON can hold it."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return [json_value(item) for item in value]
    if isinstance(value, dict):
        return {str(key): json_value(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def to_csv(table: pa.Table) -> str:
    """Comma-separated values with a header; numbers are written in full, and null is left empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([_csv_value(name) for name in table.column_names])
    writer.writerows([_csv_value(value) for value in row.values()] for row in table.to_pylist())
    return text.getvalue()


def _csv_value(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, list | dict):
        value = nested_text(value)
    if isinstance(value, str):
        value = plain(value)
        # A spreadsheet would take such a text for a formula.
        return "'" + value if value.startswith(("=", "+", "-", "@")) else value
    return value


def to_parquet(table: pa.Table) -> bytes:
    """The bytes of a Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content
