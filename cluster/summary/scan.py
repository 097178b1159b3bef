"""One table of the summary, read whole: the files of a folder, or the small objects of a bucket, many at once.

pyarrow's own S3 filesystem bounds no call, so a bucket is read through its store. What was read is kept on this
machine under the object's name and version: asking a large summary again costs one listing.
"""

import contextlib
import functools
import hashlib
import itertools
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from cluster.stores.bucket import Bucket
from cluster.summary.encoding import DamagedError, decode
from cluster.summary.tables import SCHEMAS
from cluster.summary.whole import live
from trainer.cache import cache_folder
from trainer.errors import InputError, NotReadyError
from trainer.store import Store

READERS = 16
AT_ONCE = 500
# How often a table is listed anew, because a file of it was compacted away before it was read.
LISTINGS = 5

Answer = TypeVar("Answer")


def scan(store: Store, table: str, study: str | None, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of one study or of all, in one chunk, with all columns or these; those that a file lacks are null.

    Raises:
        InputError: there is a file that is no such table.
        NotReadyError: the store cannot be read.
    """
    schema = SCHEMAS[table]
    if columns is not None:
        schema = pa.schema([schema.field(name) for name in columns])
    try:
        if isinstance(store, Bucket):
            return steadily(store, lambda: _objects(store, table, study, schema))
        return steadily(store, lambda: _files(store, table, study, schema))
    except DamagedError as problem:
        raise InputError(f"{store.uri} holds a file that is no table {table!r}: {problem}") from None


def steadily(store: Store, read: Callable[[], Answer]) -> Answer:
    """What `read` returns, which is called again when a file is gone that it had listed.

    Raises:
        NotReadyError: it is so again and again.
    """
    for _ in range(LISTINGS):
        with contextlib.suppress(FileNotFoundError):
            return read()
    raise NotReadyError(f"files in {store.uri} were deleted while the summary was read: ask again")


def paths(store: Store, table: str, study: str | None) -> list[tuple[str, str | None]]:
    """The files of a table in a folder, each with its study."""
    prefix = _prefix(table, study)
    # Twice: see `cluster.summary.whole`.
    names = live({*store.names(prefix), *store.names(prefix)}, store.read)
    return [(f"{store.uri}/{name}", _study(name)) for name in names]


def names_of_studies(store: Store, table: str) -> set[str]:
    """The studies that have rows in a table, by the names of its objects."""
    return {study for name in store.names(_prefix(table, None)) if (study := _study(name)) is not None}


def _files(store: Store, table: str, study: str | None, schema: pa.Schema) -> pa.Table:
    try:
        found = paths(store, table, study)
        return _joined((_rows(path, one, Path(path).read_bytes(), schema) for path, one in found), schema)
    except FileNotFoundError:
        raise
    except OSError as problem:
        reason = str(problem).splitlines()[0]
        raise NotReadyError(f"cannot read the summary in {store.uri}: {reason}; look at its permissions") from None


def _objects(store: Bucket, table: str, study: str | None, schema: pa.Schema) -> pa.Table:
    versions = store.versions(_prefix(table, study))
    content = functools.partial(_content, store, versions)

    def read(name: str) -> pa.Table:
        return _rows(name, _study(name), content(name), schema)

    with ThreadPoolExecutor(READERS, thread_name_prefix="summary") as pool:
        try:
            return _joined(pool.map(read, live(versions, content)), schema)
        except BaseException:
            # Those that have begun end within the store's deadline.
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _rows(name: str, study: str | None, content: bytes, schema: pa.Schema) -> pa.Table:
    """The rows of one object, with the columns of `schema`; `study` is of its name."""
    try:
        decoded = decode(content)
        known = [name for name in decoded.file.schema_arrow.names if name in schema.names and name != "study"]
        rows = decoded.rows(known)
        if "study" in schema.names:
            rows = rows.add_column(0, schema.field("study"), pa.repeat(pa.scalar(study, pa.string()), len(rows)))
        if rows.schema.equals(schema):
            return rows
        there = set(rows.column_names)
        columns = [
            rows[field.name].cast(field.type) if field.name in there else pa.nulls(len(rows), field.type)
            for field in schema
        ]
        return pa.table(columns, schema=schema)
    except (DamagedError, pa.ArrowInvalid, pa.ArrowTypeError) as problem:
        raise DamagedError(f"{name}: {problem}") from None


def _joined(parts: Iterable[pa.Table], schema: pa.Schema) -> pa.Table:
    """One table in one chunk: many would make everything after this slow."""
    rest, joined = iter(parts), [schema.empty_table()]
    # Some at a time: what is around a row is ten times as large as the row.
    while some := list(itertools.islice(rest, AT_ONCE)):
        joined.append(pa.concat_tables(some).combine_chunks())
    return pa.concat_tables(joined).combine_chunks()


def _prefix(table: str, study: str | None) -> str:
    return f"{table}/" if study is None else f"{table}/study={study}/"


def _study(name: str) -> str | None:
    """The study that is told by an object's name."""
    study = re.search(r"/study=([^/]*)/", name)
    return study[1] if study else None


def _content(store: Bucket, versions: dict[str, str], name: str) -> bytes:
    """The bytes of an object, from this machine if this version of it was read before."""
    kept = cache_folder() / "summary" / _digest(store.uri) / _digest(f"{name} {versions[name]}")
    with contextlib.suppress(OSError):
        content = kept.read_bytes()
        # Not flushed to disk when it was written: after a loss of power it can be empty.
        with contextlib.suppress(DamagedError):
            decode(content)
            return content
    content = store.read(name)
    with contextlib.suppress(OSError):
        _keep(kept, content)
    return content


def _keep(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".")
    try:
        with open(handle, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
