"""Compaction: the many small objects of a study become one whole object for each table, beside whoever reads.

At every moment a reader sees each row once, and so does one after a kill: the whole object is published at once and
names what it replaces (`cluster.summary.whole`), and only then are those deleted; the next compaction deletes what is
left. Rows and columns stay as they were written, those of a newer version included. An attempt's marker stays as
well, so no attempt is begun twice.
"""

import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pyarrow as pa

from cluster.summary.encoding import DamagedError, decode, encode
from cluster.summary.store import ConflictError, Summary
from cluster.summary.tables import SCHEMAS
from cluster.summary.whole import REPLACES, live, number_of, replaced, whole_name
from trainer.errors import InputError
from trainer.store import Store

# Those of which a row is an object of its own, written once.
COMPACTED = ("trials", "evaluations")
AT_ONCE = 16

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def compact(summary: Summary, study: str) -> int:
    """Compact the tables of a study that nobody runs: its driver's lock or lease is held by the caller.

    Returns:
        How many objects were deleted.

    Raises:
        InputError: the objects have columns that do not fit together, or one is damaged; then nothing changes.
        ConflictError: somebody else compacts the study; all rows are still there once.
        NotReadyError: the store cannot be used.
    """
    return sum(_compact(summary.store, table, f"{table}/study={study}/") for table in COMPACTED)


def _compact(store: Store, table: str, folder: str) -> int:
    store.within(folder).sweep()
    names = [name for name in store.names(folder) if not name.removeprefix(folder).startswith("_")]
    holders = live(names, store.read)
    kept = holders[0] if len(holders) == 1 else ""
    if len(holders) > 1:
        newest = max(names, key=number_of)
        earlier = replaced(store.read(newest)) if number_of(newest) else []
        kept = folder + whole_name(number_of(newest) + 1)
        if max(names) > kept:
            raise ValueError(f"{max(names)} comes after {kept} in a listing, so a reader could miss both")
        replaces = sorted({*earlier, *(name.removeprefix(folder) for name in names)})
        _publish(store, kept, encode(_rows(store, table, holders), {REPLACES: json.dumps(replaces)}))
    superseded = [name for name in names if name != kept]
    _each(store.delete, superseded)
    return len(superseded)


def _publish(store: Store, name: str, body: bytes) -> None:
    """Create the object, and make sure of what is there before anything that it replaces is deleted."""
    if store.create(name, body) not in (None, body) or store.read(name) != body:
        raise ConflictError(f"{store.uri}/{name} was written by somebody else: the study is compacted there already")


def _rows(store: Store, table: str, names: list[str]) -> pa.Table:
    """The rows of these objects, with the columns of ours first and in our types."""

    def read(name: str) -> pa.Table:
        try:
            return decode(store.read(name)).rows()
        except DamagedError as problem:
            raise InputError(f"{store.uri}/{name}: {problem}") from None

    try:
        rows = pa.concat_tables(_each(read, names), promote_options="permissive")
        known = [field for field in SCHEMAS[table] if field.name in rows.column_names]
        columns = {field.name: rows[field.name].cast(field.type) for field in known}
    except (pa.ArrowInvalid, pa.ArrowTypeError) as problem:
        raise InputError(f"{store.uri}/{names[0]} and those beside it cannot be one table: {problem}") from None
    others = {name: rows[name] for name in rows.column_names if name not in columns}
    return pa.table(columns | others).combine_chunks()


def _each(do: Callable[[Item], Answer], items: Iterable[Item]) -> list[Answer]:
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="compact") as pool:
        return list(pool.map(do, items))
