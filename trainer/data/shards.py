"""Shards on this node: each Parquet file is fetched and verified once, decoded once to Arrow IPC, and mapped by all.

The decoded file lies in the node's cache (`trainer.data.cache`) under the sha256 of its source, and contains that
sha256 and its own checksum: a file that the disk has lost, changed or renamed since is decoded again.
"""

import mmap
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from trainer.data.cache import Cache, Making, parse_bytes
from trainer.data.cache import cache_folder as cache_folder
from trainer.data.manifest import COPY_AGAIN, Shard, sha256_of_file
from trainer.data.store import Store
from trainer.errors import DataError, NotReadyError

_CHECKSUM, _SOURCE = b"crc32", b"source"


@dataclass(frozen=True)
class OpenShard:
    """A memory-mapped shard: row i has the tokens `tokens[offsets[i]:offsets[i + 1]]` and the label `labels[i]`.

    `tokens` are token ids or a vector's numbers [all], or the vectors of sequences [all, width]. The mapping lasts as
    long as any of the arrays, and so does the file's place in the cache.
    """

    tokens: npt.NDArray[Any]
    offsets: npt.NDArray[np.int32]
    labels: npt.NDArray[np.generic]

    def checksum(self) -> bytes:
        """A checksum of the three arrays, in hexadecimal. It takes about a second for each gigabyte."""
        crc = 0
        for array in (self.tokens, self.offsets, self.labels):
            crc = zlib.crc32(array.data, crc)
        return b"%08x" % crc


def open_shard(data: Store, shard: Shard) -> OpenShard:
    """The shard of the prepared data set at `data`, decoded into the node's cache if it is not there yet.

    Raises:
        DataError: the file is missing, or is not the one that the manifest describes.
        InputError: the cache has no room for it.
        NotReadyError: the cache's folder cannot be used.
    """
    bound = os.environ.get("BATCHSCOPE_CACHE_BYTES")
    cache = Cache(cache_folder(), parse_bytes(bound) if bound else None)
    try:
        if intact := _whole(cache.open(shard.sha256), shard):
            return intact
        with cache.making(shard.sha256) as making:
            # Another process may have made it while this one waited.
            return _whole(cache.open(shard.sha256), shard) or _made(data, shard, making)
    except OSError as problem:
        raise NotReadyError(
            f"{data.uri}/{shard.file} cannot be brought into the cache {cache.folder} ({problem}): make room there or "
            "change its permissions, or set BATCHSCOPE_CACHE to another folder"
        ) from None


def verify(file: Path, shard: Shard, *, where: str) -> None:
    """Compare the bytes of a shard's local file with the manifest's sha256; `where` names it in errors.

    Raises:
        DataError: the file is missing or is another one.
    """
    if not file.is_file():
        raise DataError(f"{where} is missing: {COPY_AGAIN}")
    actual = sha256_of_file(str(file))
    if actual != shard.sha256:
        raise DataError(f"{where} has sha256 {actual}, but the manifest says {shard.sha256}: {COPY_AGAIN}")


def _made(data: Store, shard: Shard, making: Making) -> OpenShard:
    """Fetch, verify, decode and publish a shard. The raw file goes before room is reserved for the decoded one."""
    where = f"{data.uri}/{shard.file}"
    making.reserve(shard.bytes)
    try:
        data.fetch(shard.file, making.raw)
    except FileNotFoundError:
        raise DataError(f"{where} is missing: {COPY_AGAIN}") from None
    verify(making.raw, shard, where=where)
    batch = _decoded(making.raw, shard, where=where)
    making.raw.unlink()
    counted = pa.MockOutputStream()
    _write(batch, counted)
    making.reserve(counted.size())
    with making.new.open("wb") as file:
        _write(batch, file)
        file.flush()
        os.fsync(file.fileno())
    intact = _whole(making.publish(), shard)
    if intact is None:
        raise NotReadyError(
            f"{cache_folder()} does not return the bytes that were written: set BATCHSCOPE_CACHE to another folder"
        )
    return intact


def schema_of(file: Path, *, where: str) -> pa.Schema:
    """The schema of a shard's local file; `where` names it in errors.

    Raises:
        DataError: the file is not Parquet, or has two columns with the same name.
    """
    with _damage(where):
        schema = pq.read_schema(str(file))
    if twice := sorted({name for name in schema.names if schema.names.count(name) > 1}):
        raise DataError(f"{where} has two columns named {twice[0]!r}: {COPY_AGAIN}")
    return schema


def _decoded(source: Path, shard: Shard, *, where: str) -> pa.RecordBatch:
    """The shard as one batch, with its checksum and the sha256 of its source as metadata."""
    names = [name for name in schema_of(source, where=where).names if name in ("tokens", "features", "label")]
    with _damage(where):
        table = pq.read_table(str(source), columns=names).combine_chunks()
    if names[:1] == ["label"] or table.num_rows != shard.rows:
        raise DataError(
            f"{where} has {table.num_rows} rows of {', '.join(names)}, but the manifest says {shard.rows} of tokens or "
            f"features: {COPY_AGAIN}"
        )
    if "label" not in names:
        table = table.append_column("label", pa.array(np.zeros(table.num_rows, np.int32)))
    batch = pa.record_batch(
        [column.chunk(0) if column.num_chunks else pa.array([], column.type) for column in table.columns],
        names=table.column_names,
    )
    with _damage(where):
        view = _view(batch)
    if len(view.tokens) != shard.tokens:
        raise DataError(f"{where} has {len(view.tokens)} tokens, but the manifest says {shard.tokens}: {COPY_AGAIN}")
    return batch.replace_schema_metadata({_CHECKSUM: view.checksum(), _SOURCE: shard.sha256.encode()})


@contextmanager
def _damage(where: str) -> Iterator[None]:
    """Turn what Arrow raises about a file's content into a DataError, but not errors of the disk or lack of memory."""
    try:
        yield
    except (pa.ArrowException, ValueError, TypeError, AttributeError, OSError) as problem:
        if isinstance(problem, MemoryError) or getattr(problem, "errno", None) is not None:
            raise
        reason = str(problem).split("\n", 1)[0][:200]
        raise DataError(f"{where} cannot be read as a shard ({reason}): {COPY_AGAIN}") from None


def _write(batch: pa.RecordBatch, sink: object) -> None:
    with pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)


def _view(batch: pa.RecordBatch) -> OpenShard:
    lists = batch.column(0)
    return OpenShard(
        tokens=_flat(lists.values),
        offsets=lists.offsets.to_numpy(zero_copy_only=True),
        labels=batch.column("label").to_numpy(zero_copy_only=True),
    )


def _flat(values: pa.Array) -> npt.NDArray[Any]:
    """The tokens or numbers of all rows [all], or their vectors [all, width]."""
    if not pa.types.is_list(values.type):
        return values.to_numpy(zero_copy_only=True)  # type: ignore[no-any-return]
    # All vectors of a data set have the same width: `cluster.prepare.features` refuses others.
    return values.values.to_numpy(zero_copy_only=True).reshape(len(values), -1)  # type: ignore[no-any-return]


def _whole(mapped: mmap.mmap | None, shard: Shard) -> OpenShard | None:
    """The shard in a decoded file; None if there is no file, or if it is not as it was written."""
    if mapped is None:
        return None
    try:
        batch = pa.ipc.open_file(pa.BufferReader(pa.py_buffer(mapped))).get_batch(0)
        # Lengths first: a damaged one would make the reader run beyond the end of the file.
        batch.validate()
        view = _view(batch)
        noted = batch.schema.metadata or {}
        if len(view.labels) != shard.rows or noted.get(_SOURCE) != shard.sha256.encode():
            return None
        return view if view.checksum() == noted.get(_CHECKSUM) else None
    except Exception:  # noqa: BLE001 - whatever these bytes raise, they are not what was written
        return None
