"""One table of the summary: the files of a folder as a data set, or the small objects of a bucket, many at once.

pyarrow's own S3 filesystem bounds no call, so a bucket is read through its store. What was read is kept on this
machine under the object's name and version: asking a large summary again costs one listing.
"""

import contextlib
import functools
import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.stores.bucket import Bucket
from cluster.summary.files import dataset
from cluster.summary.tables import SCHEMAS
from cluster.summary.whole import live
from trainer.cache import cache_folder
from trainer.errors import InputError, NotReadyError
from trainer.store import Store

READERS = 16
# How often a table is listed anew, because a file of it was compacted away before it was read.
LISTINGS = 5
# What a Parquet file begins and ends with (parquet-format, "File Format").
MAGIC = b"PAR1"

Answer = TypeVar("Answer")


def scan(store: Store, table: str, study: str | None, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of one study or of all, in one chunk, with all columns or these; those that a file lacks are null.

    Raises:
        InputError: there is a file that is no such table.
        NotReadyError: the store cannot be read.
    """
    try:
        if isinstance(store, Bucket):
            whole = steadily(store, lambda: _objects(store, table, study))
            return whole if columns is None else whole.select(list(columns))
        # One chunk for each file would make everything after this slow.
        return steadily(store, lambda: _files(store, table, study, columns)).combine_chunks()
    except (pa.ArrowInvalid, pa.ArrowTypeError) as problem:
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


def _files(store: Store, table: str, study: str | None, columns: Sequence[str] | None) -> pa.Table:
    try:
        return dataset(paths(store, table, study), SCHEMAS[table]).to_table(columns=columns)
    except FileNotFoundError:
        raise
    except OSError as problem:
        reason = str(problem).splitlines()[0]
        raise NotReadyError(f"cannot read the summary in {store.uri}: {reason}; look at its permissions") from None


def _objects(store: Bucket, table: str, study: str | None) -> pa.Table:
    schema = SCHEMAS[table]
    versions = store.versions(_prefix(table, study))
    read = functools.partial(_content, store, versions)
    names = live(versions, read)
    if not names:
        return schema.empty_table()
    with ThreadPoolExecutor(READERS, thread_name_prefix="summary") as pool:
        try:
            parts = list(pool.map(lambda name: _rows(name, read(name)), names))
        except BaseException:
            # Those that have begun end within the store's deadline.
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    whole = pa.concat_tables(parts, promote_options="permissive")
    columns = [
        whole[field.name].cast(field.type) if field.name in whole.column_names else pa.nulls(len(whole), field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema).combine_chunks()


def _prefix(table: str, study: str | None) -> str:
    return f"{table}/" if study is None else f"{table}/study={study}/"


def _study(name: str) -> str | None:
    """The study that is told by an object's name."""
    study = re.search(r"/study=([^/]*)/", name)
    return study[1] if study else None


def _rows(name: str, content: bytes) -> pa.Table:
    """The rows of one object, with the study of its name."""
    try:
        # A BufferReader, not BytesIO, with which pyarrow can abort on exit (arrow#50482).
        rows = pq.ParquetFile(pa.BufferReader(content)).read(use_threads=False)
    except pa.ArrowInvalid as problem:
        raise pa.ArrowInvalid(f"{name}: {problem}") from None
    return rows.append_column("study", pa.array([_study(name)] * len(rows), pa.string()))


def _content(store: Bucket, versions: dict[str, str], name: str) -> bytes:
    """The bytes of an object, from this machine if this version of it was read before."""
    kept = cache_folder() / "summary" / _digest(store.uri) / _digest(f"{name} {versions[name]}")
    with contextlib.suppress(OSError):
        content = kept.read_bytes()
        # Not flushed to disk when it was written: after a loss of power it can be empty.
        if len(content) > len(MAGIC) and content.startswith(MAGIC) and content.endswith(MAGIC):
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
