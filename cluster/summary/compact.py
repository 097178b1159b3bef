"""Compaction: the many small objects of a study become one whole object for each table, beside whoever reads.

At every moment a reader sees each row once, and so does one after a kill: the whole object is published at once and
names what it replaces (`cluster.summary.compacted`), and only then are those deleted; the next compaction deletes what
is left. Rows and columns stay as they were written, those of a newer version included. An attempt's marker stays as
well, so no attempt is begun twice.
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

# Those of which a row is an object of its own, written once.
COMPACTED = ("trials", "evaluations")
AT_ONCE = 16

Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Folded:
    """A file whose rows go into the whole one: as they were written, those that are accepted."""

    name: str
    rows: pa.Table
    sealed: bool


def compact(summary: Summary, study: str) -> int:
    """Compact the tables of a study that nobody runs: its driver's lock or lease is held by the caller.

    What is damaged or not accepted stays where it is; the summary's `note` hears of it.

    Returns:
        How many objects were deleted.

    Raises:
        InputError: the objects have columns that do not fit together; then nothing changes.
        ConflictError: somebody else compacts the study; all rows are still there once.
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
        return reading, [one for one in _folded(reading, study) if one.name < fresh]

    reading, folded = steadily(store, read)
    tell(reading.problems, summary.note, uri=store.uri, folder=table)
    newest = max(reading.names.live, key=number_of, default="")
    # What the newest replaces may go only if all of its own rows are in order.
    gone = list(reading.names.gone) if any(one.name == newest for one in folded) else []
    kept = folded[0].name if len(folded) == 1 and folded[0].sealed else ""
    if folded and not kept:
        kept = fresh
        earlier = replaced(reading.content(newest)) if gone or number_of(newest) else []
        replaces = {*earlier, *(name.removeprefix(folder) for name in (*gone, *(one.name for one in folded)))}
        body = encode(_joined(store, table, folded), {REPLACES: json.dumps(sorted(replaces))})
        _publish(store, kept, body)
    superseded = {*gone, *(one.name for one in folded)} - {kept}
    _each(store.delete, sorted(superseded))
    return len(superseded)


def _folded(reading: Reading, study: str) -> list[Folded]:
    """The files of which each row is accepted, and the rows of earlier whole ones that no newer one has."""
    known = checked(reading.table)

    def read(name: str) -> tuple[Folded, pa.Table] | Problem:
        try:
            decoded = decode(reading.content(name))
            rows = decoded.rows([name for name in decoded.file.schema_arrow.names if name != "study"])
            return Folded(name, rows, decoded.sealed), typed(decoded, study, reading.table, known)
        except DamagedError as problem:
            return Problem(name, f"left out: {problem}")

    found = _each(read, [*reading.names.live, *reading.names.earlier])
    reading.problems.extend(one for one in found if isinstance(one, Problem))
    files = [one for one in found if not isinstance(one, Problem)]
    if not files:
        return []
    sources = [AcceptedFile(file.name, len(rows), earlier=file.name in reading.names.earlier) for file, rows in files]
    judged = judge(reading.table, pa.concat_tables(rows for _, rows in files).combine_chunks(), sources)
    reading.problems.extend(judged.problems)
    ends = np.cumsum([source.rows for source in sources])
    folded = []
    for (file, _), source, accepted in zip(files, sources, np.split(judged.accepted, ends[:-1]), strict=True):
        if accepted.any() if source.earlier else accepted.all():
            folded.append(replace(file, rows=file.rows.filter(pa.array(accepted))))
    return sorted(folded, key=lambda one: one.name)


def _publish(store: Store, name: str, body: bytes) -> None:
    """Create the object, and make sure of what is there before anything that it replaces is deleted."""
    if store.create(name, body) not in (None, body) or store.read(name) != body:
        raise ConflictError(f"{store.uri}/{name} was written by somebody else: the study is compacted there already")


def _joined(store: Store, table: str, files: Sequence[Folded]) -> pa.Table:
    """The rows of these files, with the columns of ours first and in our types."""
    try:
        rows = pa.concat_tables((one.rows for one in files), promote_options="permissive")
        known = [field for field in SCHEMAS[table] if field.name in rows.column_names]
        columns = {field.name: rows[field.name].cast(field.type) for field in known}
    except (pa.ArrowInvalid, pa.ArrowTypeError) as problem:
        raise InputError(f"{store.uri}/{files[0].name} and those beside it cannot be one table: {problem}") from None
    others = {name: rows[name] for name in rows.column_names if name not in columns}
    return pa.table(columns | others).combine_chunks()


def _each(do: Callable[[Item], Answer], items: Iterable[Item]) -> list[Answer]:
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="compact") as pool:
        return list(pool.map(do, items))
