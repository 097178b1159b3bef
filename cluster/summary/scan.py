"""One table of the summary, read whole: a scan of a folder, or the small objects of a bucket, many at once.

pyarrow's own S3 filesystem bounds no call, so a bucket is read through its store. What was read is kept on this
machine under the object's name and version: asking a large summary again costs one listing.
"""

import contextlib
import hashlib
import os
import re
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
from pyarrow import fs as pafs

from cluster.stores.bucket import Bucket
from cluster.summary.tables import SCHEMAS
from trainer.cache import cache_folder
from trainer.errors import InputError, NotReadyError
from trainer.store import Store

READERS = 16
# What a Parquet file begins and ends with (parquet-format, "File Format").
MAGIC = b"PAR1"


def scan(store: Store, table: str, study: str | None) -> pa.Table:
    """The rows of one study or of all, in one chunk; columns that a file lacks are null.

    Raises:
        InputError: there is a file that is no such table.
        NotReadyError: the store cannot be read.
    """
    try:
        if isinstance(store, Bucket):
            return _objects(store, table, study)
        return _files(store.uri, table, study)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as problem:
        raise InputError(f"{store.uri} holds a file that is no table {table!r}: {problem}") from None


def _files(root: str, table: str, study: str | None) -> pa.Table:
    folder = f"{root}/{table}" if study is None else f"{root}/{table}/study={study}"
    options = pads.FileSystemFactoryOptions(
        partition_base_dir=f"{root}/{table}",
        # Declared: a study named 2024 is a text too.
        partitioning=pads.HivePartitioning(pa.schema([("study", pa.string())])),
    )
    selector = pafs.FileSelector(folder, allow_not_found=True, recursive=True)
    try:
        factory = pads.FileSystemDatasetFactory(pafs.LocalFileSystem(), selector, pads.ParquetFileFormat(), options)
        # One chunk for each file would make everything after this slow.
        return factory.finish(SCHEMAS[table]).to_table().combine_chunks()
    except OSError as problem:
        reason = str(problem).splitlines()[0]
        raise NotReadyError(f"cannot read the summary in {root}: {reason}; look at its permissions") from None


def _objects(store: Bucket, table: str, study: str | None) -> pa.Table:
    schema = SCHEMAS[table]
    versions = store.versions(f"{table}/" if study is None else f"{table}/study={study}/")
    # As pyarrow does in a folder.
    names = [name for name in sorted(versions) if not name.rpartition("/")[2].startswith((".", "_"))]
    if not names:
        return schema.empty_table()
    with ThreadPoolExecutor(READERS, thread_name_prefix="summary") as pool:
        try:
            parts = list(pool.map(lambda name: _rows(store, name, versions[name]), names))
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


def _rows(store: Bucket, name: str, version: str) -> pa.Table:
    """The rows of one object, with the study of its name."""
    study = re.search(r"/study=([^/]*)/", name)
    try:
        # A BufferReader, not BytesIO, with which pyarrow can abort on exit (arrow#50482).
        rows = pq.ParquetFile(pa.BufferReader(_content(store, name, version))).read(use_threads=False)
    except pa.ArrowInvalid as problem:
        raise pa.ArrowInvalid(f"{name}: {problem}") from None
    return rows.append_column("study", pa.array([study[1] if study else None] * len(rows), pa.string()))


def _content(store: Bucket, name: str, version: str) -> bytes:
    """The bytes of an object, from this machine if this version of it was read before."""
    kept = cache_folder() / "summary" / _digest(store.uri) / _digest(f"{name} {version}")
    with contextlib.suppress(OSError):
        content = kept.read_bytes()
        # Not flushed to disk when it was written: after a loss of power it can be empty.
        if len(content) > len(MAGIC) and content.startswith(MAGIC) and content.endswith(MAGIC):
            return content
    try:
        content = store.read(name)
    except FileNotFoundError:
        raise NotReadyError(f"{store.uri}/{name} was deleted while the summary was read: ask again") from None
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
