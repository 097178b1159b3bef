"""Rows of a Parquet file, read by path in batches of bounded size."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import types

from cluster.prepare.batches import BATCH_BYTES, Batch, Columns, require
from cluster.prepare.features import depth
from cluster.prepare.sources import Source
from cluster.prepare.wide import of_arrays
from trainer.errors import InputError, NotReadyError, UserError, brief

# The bytes of a column that are read ahead. Without this, a row group's whole column chunk would be held at once.
READ_AHEAD_BYTES = 2**20


def read(source: Source, path: Path, columns: Columns, batch_rows: int) -> Iterator[Batch]:
    """The rows of the source's local file `path` in order.

    Raises:
        InputError: the file is not Parquet, lacks a column, or has a column of a type that cannot be used.
        NotReadyError: the file may not be read.
    """
    try:
        # By path and never from a Python file object, with which pyarrow may abort the process when it exits.
        with pq.ParquetFile(str(path), pre_buffer=False, buffer_size=READ_AHEAD_BYTES) as file:
            require(source.name, columns, file.schema_arrow.names)
            _check_types(source.name, columns, file.schema_arrow)
            yield from _batches(source, columns, file, batch_rows)
    except UserError:
        raise
    except PermissionError as problem:
        raise NotReadyError(f"{source.name} cannot be read ({problem.strerror}): check its permissions") from problem
    except (pa.ArrowException, OSError, ValueError, OverflowError) as problem:
        # A damaged file may raise any of these.
        raise InputError(
            f"{source.name} cannot be read as Parquet ({brief(str(problem))}): write it again"
        ) from problem


def _batches(source: Source, columns: Columns, file: pq.ParquetFile, batch_rows: int) -> Iterator[Batch]:
    rows = file.metadata.num_rows
    size = sum(file.metadata.row_group(group).total_byte_size for group in range(file.metadata.num_row_groups))
    # Fewer long texts come at a time, so that a batch stays small whatever the articles' length.
    batch_rows = max(1, min(batch_rows, BATCH_BYTES * max(rows, 1) // max(size, 1)))
    first = 1
    for record in file.iter_batches(batch_size=batch_rows, columns=columns.names()):

        def values(name: str, record: pa.RecordBatch = record, first: int = first) -> pa.Array:
            return _plain(record.column(name), f"{source.name} row", first, name)

        yield Batch(
            file=source.name,
            unit="row",
            places=range(first, first + record.num_rows),
            texts=[] if columns.text is None else values(columns.text).to_pylist(),
            labels=None if columns.label is None else values(columns.label),
            groups=None if columns.group is None else _groups(values(columns.group), source.name, columns.group),
            share=record.num_rows / rows,
            features=_features(source.name, columns, record),
        )
        first += record.num_rows


def _features(file: str, columns: Columns, record: pa.RecordBatch) -> pa.Array | None:
    """The rows' numbers: a column of lists, or several columns of one number each."""
    if columns.wide:
        return of_arrays(file, [record.column(name) for name in columns.wide], columns.wide)
    return None if columns.features is None else record.column(columns.features)


def _plain(values: pa.Array, where: str, first: int, column: str) -> pa.Array:
    """The values without a dictionary, and with a single type each for text and for decimals.

    Raises:
        InputError: a text is not UTF-8, which Parquet does not check.
    """
    if types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if types.is_decimal32(values.type) or types.is_decimal64(values.type):
        # Arrow cannot encode narrow decimals as a dictionary.
        values = values.cast(pa.decimal128(values.type.precision, values.type.scale))
    if not _is_text(values.type):
        return values
    texts = values.cast(pa.string())
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        index = next(index for index in range(len(texts)) if not _is_utf8(texts[index]))
        raise InputError(
            f"{where} {first + index}: {column!r} is not UTF-8, as text in Parquet must be: write the column again"
        ) from None
    return texts


def _is_utf8(text: pa.StringScalar) -> bool:
    try:
        text.as_py()
    except UnicodeDecodeError:
        return False
    return True


def _groups(values: pa.Array, file: str, column: str) -> list[object]:
    try:
        groups: list[object] = values.to_pylist()
    except (OverflowError, ValueError) as problem:
        raise InputError(
            f"{file} column {column!r} has a value that is out of range ({brief(str(problem))}): correct it, or name "
            "another --group-by column"
        ) from None
    return groups


def _check_types(file: str, columns: Columns, schema: pa.Schema) -> None:
    """Refuse a column whose type does not fit its role."""
    if columns.text is not None:
        _refuse(file, columns.text, schema, _is_text, "text must be strings: name another --text column")
    if columns.features is not None and not columns.wide:
        _refuse(
            file,
            columns.features,
            schema,
            lambda kind: depth(kind) > 0,
            "features must be lists of numbers or lists of such lists: name another --features column (or use --text)",
        )
    if columns.label is not None:
        _refuse(
            file,
            columns.label,
            schema,
            lambda kind: _is_text(kind) or _is_scalar(kind),
            "a label must be a string, an integer, a boolean or a float: name another --label column",
        )
    if columns.group is not None:
        _refuse(
            file,
            columns.group,
            schema,
            lambda kind: not types.is_nested(kind),
            "a group must be one value: name another --group-by column",
        )


def _refuse(file: str, column: str, schema: pa.Schema, fits: Callable[[pa.DataType], bool], remedy: str) -> None:
    kind = schema.field(column).type
    if not fits(kind.value_type if types.is_dictionary(kind) else kind):
        raise InputError(f"{file} column {column!r} has the type {kind}: {remedy}")


def _is_text(kind: pa.DataType) -> bool:
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _is_scalar(kind: pa.DataType) -> bool:
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind) or types.is_decimal(kind))
