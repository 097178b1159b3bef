"""The rows of one object of the summary, in the columns and types of its table."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from cluster.summary.encoding import DamagedError, Decoded, decode
from cluster.summary.tables import KEYS, REAL, SCHEMAS, TEXT, TIME, WHOLE


@dataclass(frozen=True)
class Part:
    """The rows of the object `name`; one that is not `sealed` cannot be verified."""

    name: str
    rows: pa.Table
    sealed: bool


def part_of(name: str, study: str | None, content: bytes, table: str, columns: Sequence[str]) -> Part:
    """The `columns` of `table` in an object's bytes; missing columns are null, and `study` comes from its name.

    Raises:
        DamagedError: the object cannot be read, or its columns are not those of the table.
    """
    decoded = decode(content)
    return Part(name, typed(decoded, study, table, columns), decoded.sealed)


def typed(decoded: Decoded, study: str | None, table: str, columns: Sequence[str]) -> pa.Table:
    """The rows of a file, as in `part_of`. If the file has no seal, all of its columns are checked."""
    wanted = tuple(columns)
    schema, known = _columns(
        decoded.file.schema_arrow, table, wanted if decoded.sealed else tuple(SCHEMAS[table].names)
    )
    rows = decoded.rows(known)
    if not decoded.sealed:
        _validate(rows)
    if "study" in known:
        if not pc.all(pc.equal(rows["study"].cast(TEXT), study), min_count=0).as_py():
            raise DamagedError(f"its rows belong to another study than {study!r}, in whose folder it is")
        rows = rows.drop_columns(["study"])
    if "study" in schema.names:
        rows = rows.add_column(0, schema.field("study"), pa.repeat(pa.scalar(study, TEXT), len(rows)))
    if not rows.schema.equals(schema):
        cast = [
            _cast(rows[field.name], field) if field.name in rows.column_names else pa.nulls(len(rows), field.type)
            for field in schema
        ]
        rows = pa.table(cast, schema=schema)
    return rows if decoded.sealed else rows.select([name for name in schema.names if name in columns])


# Thousands of files share a schema.
@functools.lru_cache(maxsize=32)
def _columns(there: pa.Schema, table: str, wanted: tuple[str, ...]) -> tuple[pa.Schema, list[str]]:
    """The schema of the `wanted` columns of a table, and the names of those that a file has."""
    schema = pa.schema([field for field in SCHEMAS[table] if field.name in wanted])
    names = set(there.names)
    for other, keys in KEYS.items():
        theirs = set(keys) - set(SCHEMAS[table].names)
        if theirs and theirs <= names:
            raise DamagedError(f"its rows are of the table {other}")
    known = [name for name in schema.names if name in names]
    for column in known:
        _check(there, column, schema.field(column).type)
    return schema, known


def _check(there: pa.Schema, column: str, wanted: pa.DataType) -> None:
    """Refuse a column of a wrong type. A cast alone would turn texts into numbers, and numbers into texts."""
    if len(there.get_all_field_indices(column)) > 1:
        raise DamagedError(f"it has the column {column} more than once")
    kind = there.field(column).type
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    number = pa.types.is_integer(inner) or pa.types.is_floating(inner)
    fits = {
        TEXT: pa.types.is_string(inner) or pa.types.is_large_string(inner) or pa.types.is_string_view(inner),
        WHOLE: number,
        REAL: number,
        TIME: pa.types.is_timestamp(inner),
    }
    if not (fits[wanted] or pa.types.is_null(inner)):
        raise DamagedError(f"its column {column} is {str(kind)[:60]} and not {wanted}")


def _validate(rows: pa.Table) -> None:
    """Check what pyarrow does not check when it reads, such as texts that are not UTF-8."""
    try:
        rows.validate(full=True)
    except pa.ArrowException as problem:
        raise DamagedError(str(problem).splitlines()[0]) from None


def _cast(column: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
    try:
        return column.cast(field.type)
    except pa.ArrowException as problem:
        raise DamagedError(f"its column {field.name} cannot be {field.type}: {str(problem).splitlines()[0]}") from None
