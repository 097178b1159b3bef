"""Rows of JSONL, CSV and TSV files, read line by line so that an error can name its line.

The standard library reads 100,000 and more articles a second, several times as fast as they are tokenised. pyarrow's
readers are faster, but they guess a column's type from the first block, and their errors name no line.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from cluster.prepare import delimited, jsonl
from cluster.prepare.batches import BATCH_BYTES, Batch, Columns
from cluster.prepare.features import column_of
from cluster.prepare.fields import typed
from cluster.prepare.numbered import Record
from cluster.prepare.sources import Source
from cluster.prepare.wide import of_fields
from trainer.errors import InputError


def read(source: Source, path: Path, columns: Columns, batch_rows: int) -> Iterator[Batch]:
    """The rows of the source's local file `path` in order; blank lines are skipped.

    Raises:
        InputError: a line is malformed, a column is missing, or a value has a type that cannot be used.
        NotReadyError: the file may not be read.
    """
    of_format = jsonl.records if source.format == "jsonl" else delimited.records
    pending: list[Record] = []
    size, file_size = 0, max(1, path.stat().st_size)
    for record in of_format(source, path, columns):
        pending.append(record)
        size += len(str(record[1].get(columns.text or columns.features or "")))
        if len(pending) == batch_rows or size > BATCH_BYTES:
            yield _batch(source, columns, pending, size / file_size)
            pending, size = [], 0
    if pending:
        yield _batch(source, columns, pending, size / file_size)


def _batch(source: Source, columns: Columns, records: list[Record], share: float) -> Batch:
    places = [number for number, _ in records]
    for number, record in records:
        _check_values(f"{source.name} line {number}", columns, record)

    def values(name: str) -> list[Any]:
        return [record.get(name) for _, record in records]

    batch = Batch(
        file=source.name,
        unit="line",
        places=places,
        texts=[] if columns.text is None else values(columns.text),
        labels=None if columns.label is None else _labels(source, columns, places, values(columns.label)),
        groups=None if columns.group is None else values(columns.group),
        share=share,
    )
    if columns.features is None:
        return batch
    if columns.wide:
        vectors: list[Any] = [
            of_fields(batch.where(index), [record.get(name) for name in columns.wide], columns.wide)
            for index, (_, record) in enumerate(records)
        ]
    else:
        vectors = values(columns.features)
    return replace(batch, features=column_of(batch, vectors, columns.features))


def _check_values(where: str, columns: Columns, record: dict[str, object]) -> None:
    """Refuse a text that is not a string, a label or group that is not a single value, and invalid characters."""
    if columns.text is not None and not isinstance(text := record.get(columns.text), str | None):
        raise InputError(
            f"{where}: text {columns.text!r} is a {type(text).__name__}, not a string: name another --text column"
        )
    for what, column in (("label", columns.label), ("group", columns.group)):
        if column is not None and isinstance(value := record.get(column), list | dict):
            raise InputError(
                f"{where}: {what} {column!r} is a {type(value).__name__}: it must be a string, an integer, "
                f"a boolean or a float; name another --{'label' if what == 'label' else 'group-by'} column"
            )
    for what, column in (("text", columns.text), ("label", columns.label), ("group", columns.group)):
        if column is None or not isinstance(value := record.get(column), str):
            continue
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InputError(
                f"{where}: {what} {column!r} contains half a surrogate pair, which is not a character: correct the text"
            ) from None


def _labels(source: Source, columns: Columns, places: list[int], labels: list[Any]) -> pa.Array:
    """The labels as one Arrow array; an empty field of a CSV file is a missing label.

    1 and 1.0 are the same number, but two different class names.
    """
    if source.format != "jsonl":
        return typed(columns.field_type, labels, where=source.name)
    kinds: dict[type, int] = {}
    for label, place in zip(labels, places, strict=True):
        if label is not None:
            kinds.setdefault(type(label), place)
    reason = ""
    if len(kinds) < 2 or (kinds.keys() == {int, float} and not columns.classes):
        try:
            return pa.array(labels)
        except (pa.ArrowException, OverflowError, UnicodeEncodeError) as problem:
            reason = f"; {problem}"
    seen = ", ".join(f"{kind.__name__} (line {place})" for kind, place in kinds.items())
    raise InputError(
        f"{source.name}: labels {columns.label!r} do not fit one type ({seen}{reason}): make them all "
        "strings, all integers or all floats"
    )
