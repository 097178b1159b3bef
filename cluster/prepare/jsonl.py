"""The records of JSONL files: one object on each line."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from cluster.prepare import numbered
from cluster.prepare.batches import Columns, once, require
from cluster.prepare.numbered import Record
from cluster.prepare.sources import Source
from trainer.errors import InputError, brief

_REMEDY = "there must be one JSON object on each line"


class _Doubled(dict[str, object]):
    """An object that has a key twice; `keys_written` are all its keys as written."""

    def __init__(self, pairs: Sequence[tuple[str, object]]) -> None:
        super().__init__(pairs)
        self.keys_written = [key for key, _ in pairs]


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    record = dict(pairs)
    return record if len(record) == len(pairs) else _Doubled(pairs)


_DECODER = json.JSONDecoder(object_pairs_hook=_object)


def records(source: Source, path: Path, columns: Columns) -> Iterator[Record]:
    """The object on each line, with the line's number; blank lines are skipped.

    Raises:
        InputError: a line is not a JSON object, the first one lacks a column, or one has a column twice.
        NotReadyError: the file may not be read.
    """
    checked = False
    for number, line in numbered.lines(source, path):
        if not line.strip():
            continue
        try:
            record = _DECODER.decode(line)
        except (ValueError, RecursionError) as problem:
            raise InputError(f"{source.name} line {number} is not JSON ({brief(str(problem))}): {_REMEDY}") from None
        if not isinstance(record, dict):
            raise InputError(f"{source.name} line {number} is a JSON {type(record).__name__}, not an object: {_REMEDY}")
        if isinstance(record, _Doubled):
            once(f"{source.name} line {number}", columns, record.keys_written)
        if not checked:
            require(source.name, columns, list(record))
            checked = True
        yield number, record
