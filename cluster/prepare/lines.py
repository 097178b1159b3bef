"""Rows of JSONL, CSV and TSV files, read line by line so that an error can name its line.

The standard library reads 100,000 and more articles a second, several times what tokenising takes; pyarrow's
readers are faster, but guess a column's type from the first block and name no line of the file.
"""

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from cluster.prepare.batches import BATCH_BYTES, Batch, Columns, require
from cluster.prepare.features import column_of
from cluster.prepare.fields import field_type, typed, widest
from cluster.prepare.sources import Source, opened
from trainer.errors import InputError, NotReadyError

# A longer line is no article but a missing line end or an unclosed quote: say so before memory is full.
LINE_BYTES = 64 * 2**20

Record = tuple[int, dict[str, object]]


def read(source: Source, path: Path, columns: Columns, batch_rows: int) -> Iterator[Batch]:
    """The rows of the source's local file `path` in order; blank lines are passed over.

    Raises:
        InputError: a line is malformed, a column is missing, or a value has a type that cannot be used.
        NotReadyError: it may not be read.
    """
    records = _json_records(source, path, columns) if source.format == "jsonl" else _csv_records(source, path, columns)
    pending: list[Record] = []
    size, file_size = 0, max(1, path.stat().st_size)
    for record in records:
        pending.append(record)
        size += len(str(record[1].get(columns.text or columns.features or "")))
        if len(pending) == batch_rows or size > BATCH_BYTES:
            yield _batch(source, columns, pending, size / file_size)
            pending, size = [], 0
    if pending:
        yield _batch(source, columns, pending, size / file_size)


def _lines(source: Source, path: Path) -> Iterator[tuple[int, str]]:
    """The file's lines from 1, decoded one by one so that a wrong byte is found on its line."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(LINE_BYTES), b""), start=1):
                if len(line) == LINE_BYTES:
                    raise InputError(f"{source.name} line {number} is longer than 64 MiB: one article a line")
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as problem:
        raise InputError(
            f"{source.name} line {number} is not UTF-8 ({problem.reason}): save the file as UTF-8"
        ) from None
    except OSError as problem:
        raise NotReadyError(f"{source.name} cannot be read ({problem}): check permission") from None


def _json_records(source: Source, path: Path, columns: Columns) -> Iterator[Record]:
    remedy = "there must be one JSON object on each line"
    checked = False
    for number, line in _lines(source, path):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as problem:
            raise InputError(f"{source.name} line {number} is not JSON ({problem}): {remedy}") from None
        if not isinstance(record, dict):
            raise InputError(f"{source.name} line {number} is a JSON {type(record).__name__}, not an object: {remedy}")
        if not checked:
            require(source.name, columns, list(record))
            checked = True
        yield number, record


def _csv_records(source: Source, path: Path, columns: Columns) -> Iterator[Record]:
    csv.field_size_limit(LINE_BYTES)
    delimiter = "\t" if source.format == "tsv" else ","
    reader = csv.reader((line for _, line in _lines(source, path)), delimiter=delimiter, strict=True)
    line = 1
    try:
        header = next(reader, [])
        require(source.name, columns, header)
        wanted = [(name, header.index(name)) for name in columns.names()]
        line = reader.line_num + 1
        for values in reader:
            if values and len(values) != len(header):
                raise InputError(
                    f"{source.name} line {line} has {len(values)} fields, the header has {len(header)}: "
                    "correct the line (a field with a comma, quote or line end must be quoted)"
                )
            if values:
                yield line, {name: values[index] for name, index in wanted}
            line = reader.line_num + 1
    except csv.Error as problem:
        raise InputError(
            f"{source.name} line {line} is not CSV ({problem}): look for a quote that is not closed or doubled"
        ) from None


def _batch(source: Source, columns: Columns, records: list[Record], share: float) -> Batch:
    places = [number for number, _ in records]
    for number, record in records:
        where = f"{source.name} line {number}"
        if columns.text is not None:
            _check_text(where, columns.text, record.get(columns.text))
        if columns.label is not None and isinstance(label := record.get(columns.label), list | dict):
            raise InputError(
                f"{where}: label {columns.label!r} is a {type(label).__name__}: it must be a string, an integer, "
                "a boolean or a float; name another --label column"
            )

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
    return replace(batch, features=column_of(batch, values(columns.features), columns.features))


def _check_text(where: str, column: str, text: object) -> None:
    if text is None:
        return
    if not isinstance(text, str):
        raise InputError(
            f"{where}: text {column!r} is a {type(text).__name__}, not a string: name another --text column"
        )
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(
            f"{where}: text {column!r} holds half a surrogate pair, which is no character: correct the text"
        ) from None


def _labels(source: Source, columns: Columns, places: list[int], labels: list[Any]) -> pa.Array:
    """The labels as one Arrow array; an empty field of a CSV file is a missing label.

    1 and 1.0 are one number, but two names of a class.
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
        f"{source.name}: labels {columns.label!r} cannot be of one type ({seen}{reason}): make them all "
        "strings, all integers or all floats"
    )


def label_type(source: Source, column: str) -> str:
    """What a CSV file does not say: the type of its labels, one of `fields.FIELD_TYPES`.

    The label column is read once for this. To guess from the first block, as readers of CSV do, is wrong for a
    column that goes on otherwise; to decide at the end would need every value in memory.
    """
    with opened(source) as path:
        records = _csv_records(source, path, Columns(text=column, label=column))
        return widest({field_type(str(record[column])) for _, record in records})
