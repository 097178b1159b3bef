"""A person's SELECT on the tables of a summary, answered in the box; an error is one line."""

import re
from collections.abc import Callable, Mapping

import pyarrow as pa

from cluster.stores.bucket import Bucket
from cluster.summary import sandbox
from cluster.summary.problems import Note, warn
from cluster.summary.scan import scan, steadily, verified_files
from cluster.summary.tables import SCHEMAS
from trainer.data.store import Store
from trainer.errors import InputError, nearest

POINTS = "points"
TABLES = (*SCHEMAS, POINTS)
# How DuckDB names what it does not find.
NO_TABLE = re.compile(r"Table with name (\S+) does not exist")
NO_COLUMN = re.compile(r'(?:Referenced column|does not have a column named) "([^"]+)"')


def answer(
    store: Store,
    text: str,
    study: str | None,
    points: Callable[[], pa.Table],
    *,
    seconds: float = sandbox.SECONDS,
    note: Note = warn,
) -> pa.Table:
    """The answer to one SELECT on the tables of one study or of all; `points` makes the table of that name.

    Files that compaction wrote into a folder are verified here, and the box reads the columns that it needs from them.
    Everything else is read here, because the box has no network and unaccepted rows must be left out; `note` is called
    for those.

    Raises:
        InputError: the text is not one SELECT, reads more than the tables, is wrong, or takes too much memory or time.
        NotReadyError: the store cannot be read.
    """
    # A table whose name does not occur in the text cannot be queried, so it is not read.
    named = [name for name in TABLES if re.search(rf"\b{name}\b", text, re.IGNORECASE)]

    def table(name: str) -> pa.Table | sandbox.TableFiles:
        if name == POINTS:
            return points()
        files = None if isinstance(store, Bucket) else verified_files(store, name, study)
        return scan(store, name, study, note=note) if files is None else sandbox.TableFiles(files, SCHEMAS[name])

    tables: dict[str, pa.Table | sandbox.TableFiles] = {}

    def ask() -> pa.Table:
        tables.update({name: table(name) for name in named})
        return sandbox.ask({"sql": text}, tables, seconds=seconds)

    try:
        return steadily(store, ask)
    except sandbox.RefusedError as problem:
        raise InputError(f"SQL: {_explained(str(problem), tables)}") from None


def _explained(problem: str, tables: Mapping[str, pa.Table | sandbox.TableFiles]) -> str:
    """The problem, and what exists instead."""
    if match := NO_TABLE.search(problem):
        return f"there is no table {match[1]!r}{nearest(match[1], list(TABLES))}: {', '.join(TABLES)}"
    if match := NO_COLUMN.search(problem):
        columns = {name: table.schema.names for name, table in tables.items()}
        known = [column for names in columns.values() for column in names]
        there = "; ".join(f"{name} has {', '.join(names)}" for name, names in columns.items())
        return f"there is no column {match[1]!r}{nearest(match[1], known)}: {there}"
    return f"{problem}; the tables are {', '.join(TABLES)}"
