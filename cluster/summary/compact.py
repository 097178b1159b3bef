"""Compaction: the many small objects of a study become one whole object for each table, while others may read.

At every moment, even after a kill, a reader sees each row once: the whole object is published at once and names what it
replaces (`cluster.summary.compacted`), and only then are those objects deleted; the next compaction deletes leftovers.
Rows and columns stay as they were written, even those of a newer version. The markers of attempts stay too, so no
attempt is begun twice.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import pyarrow as pa

from cluster.summary.accepted import AcceptedFile, checked, judge
from cluster.summary.compacted import REPLACES, number_of, replaced, whole_name
from cluster.summary.encoding import DamagedError, decode, encode
from cluster.summary.parts import typed
from cluster.summary.problems import Problem, tell
from cluster.summary.scan import Reading, listed, steadily
from cluster.summary.store import ConflictError, Summary
from cluster.summary.tables import SCHEMAS
from trainer.data.store import Store
from trainer.errors import InputError

# The tables whose rows are written as small objects, once each.
COMPACTED = ("trials", "evaluations")
AT_ONCE = 16

Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Folded:
    """A file whose accepted rows go into the whole object, as they were written."""

    name: str
    rows: pa.Table
    sealed: bool


def compact(summary: Summary, study: str) -> int:
    """Compact the tables of a study that nobody else runs: the caller holds its driver's lock or lease.

    Damaged or unaccepted objects stay where they are, and the summary's `note` is called with each.

    Returns:
        How many objects were deleted.

    Raises:
        InputError: the columns of the objects do not fit together; then nothing changes.
        ConflictError: somebody else is compacting the study; each row is still there once.
        NotReadyError: the store cannot be used.
    """
    return sum(_compact(summary, table, study) for table in COMPACTED)


def _compact(summary: Summary, table: str, study: str) -> int:
    store, folder = summary.store, f"{table}/study={study}/"
    store.within(folder).sweep()
    names = store.names(folder)
    fresh = folder + whole_name(max(map(number_of, names), default=0) + 1)

    def read() -> tuple[Reading, list[Folded]]:
        reading = listed(store, table, study)
        # A reader that lists by pages could miss a row that moves to a name before its own.
        return reading, [file for file in folded(reading, study) if file.name < fresh]

    reading, files = steadily(store, read)
    tell(reading.problems, summary.note, uri=store.uri, folder=table)
    newest = max(reading.names.live, key=number_of, default="")
    # The objects that the newest replaces may be deleted only if all of its own rows are accepted.
    gone = list(reading.names.gone) if any(file.name == newest for file in files) else []
    kept = files[0].name if len(files) == 1 and files[0].sealed else ""
    if files and not kept:
        kept = fresh
        earlier = replaced(reading.content(newest)) if gone or number_of(newest) else []
        replaces = {*earlier, *(name.removeprefix(folder) for name in (*gone, *(file.name for file in files)))}
        body = encode(joined(store, table, files), {REPLACES: json.dumps(sorted(replaces))})
        publish(store, kept, body)
    superseded = {*gone, *(file.name for file in files)} - {kept}
    each(store.delete, sorted(superseded))
    return len(superseded)


def folded(reading: Reading, study: str) -> list[Folded]:
    """The files with only accepted rows, and the rows of earlier whole objects that no newer one has."""
    known = checked(reading.table)

    def read(name: str) -> tuple[Folded, pa.Table] | Problem:
        try:
            decoded = decode(reading.content(name))
            rows = decoded.rows([name for name in decoded.file.schema_arrow.names if name != "study"])
            return Folded(name, rows, decoded.sealed), typed(decoded, study, reading.table, known)
        except DamagedError as problem:
            return Problem(name, f"left out: {problem}")

    results = each(read, [*reading.names.live, *reading.names.earlier])
    reading.problems.extend(result for result in results if isinstance(result, Problem))
    files = [result for result in results if not isinstance(result, Problem)]
    if not files:
        return []
    sources = [AcceptedFile(file.name, len(rows), earlier=file.name in reading.names.earlier) for file, rows in files]
    judged = judge(reading.table, pa.concat_tables(rows for _, rows in files).combine_chunks(), sources)
    reading.problems.extend(judged.problems)
    ends = np.cumsum([source.rows for source in sources])
    found = []
    for (file, _), source, accepted in zip(files, sources, np.split(judged.accepted, ends[:-1]), strict=True):
        if accepted.any() if source.earlier else accepted.all():
            found.append(replace(file, rows=file.rows.filter(pa.array(accepted))))
    return sorted(found, key=lambda file: file.name)


def publish(store: Store, name: str, body: bytes) -> None:
    """Create the object and read it back, before anything that it replaces is deleted."""
    if store.create(name, body) not in (None, body) or store.read(name) != body:
        raise ConflictError(f"{store.uri}/{name} was written by somebody else, who has already compacted the study")


def joined(store: Store, table: str, files: Sequence[Folded]) -> pa.Table:
    """The rows of these files, with the known columns first and in their own types."""
    try:
        rows = pa.concat_tables((file.rows for file in files), promote_options="permissive")
        names = set(rows.column_names)
        known = [field for field in SCHEMAS[table] if field.name in names]
        columns = {field.name: _cast(rows[field.name], field.type) for field in known}
    except (pa.ArrowInvalid, pa.ArrowTypeError) as problem:
        raise InputError(
            f"{store.uri}/{files[0].name} and the other files there do not fit into one table: {problem}"
        ) from None
    others = {name: rows[name] for name in rows.column_names if name not in columns}
    return pa.table(columns | others).combine_chunks()


def _cast(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    return column if column.type == kind else column.cast(kind)


def each(do: Callable[[Item], Answer], items: Iterable[Item]) -> list[Answer]:
    """What `do` returns for each item, several at once."""
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="compact") as pool:
        return list(pool.map(do, items))
