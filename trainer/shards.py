"""Shards on this node: each Parquet file verified once against its sha256 and decoded once to Arrow IPC.

The decoded file is named after the sha256 of what it was decoded from, memory-mapped, and shared by all workers and
lanes of the node. A lock per shard makes the others wait for the first that decodes it.
"""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from trainer.errors import InputError
from trainer.manifest import Shard, sha256_of_file


@dataclass(frozen=True)
class OpenShard:
    """A memory-mapped shard: row i has the tokens `tokens[offsets[i]:offsets[i + 1]]` and the label `labels[i]`."""

    tokens: npt.NDArray[np.unsignedinteger]
    offsets: npt.NDArray[np.int32]
    labels: npt.NDArray[np.generic]


def cache_folder() -> Path:
    """Where this node keeps decoded shards: `$BATCHSCOPE_CACHE`, or `~/.cache/batchscope`."""
    return Path(os.environ.get("BATCHSCOPE_CACHE") or Path.home() / ".cache" / "batchscope").expanduser()


def open_shard(data: str, shard: Shard) -> OpenShard:
    """The shard of the prepared data set in the folder `data`, decoded into the cache if it is not there yet.

    Raises:
        InputError: the file is not there, or is not the one that the manifest speaks of.
    """
    decoded = cache_folder() / f"{shard.sha256}.arrow"
    if not decoded.exists():
        decoded.parent.mkdir(parents=True, exist_ok=True)
        with _locked(decoded.with_suffix(".lock")):
            if not decoded.exists():
                verify(data, shard)
                _decode(Path(data) / shard.file, decoded)
    batch = pa.ipc.open_file(pa.memory_map(str(decoded))).get_batch(0)
    lists = batch.column("tokens")
    return OpenShard(
        tokens=lists.values.to_numpy(zero_copy_only=True),
        offsets=lists.offsets.to_numpy(zero_copy_only=True),
        labels=batch.column("label").to_numpy(zero_copy_only=True),
    )


def verify(data: str, shard: Shard) -> None:
    """Compare a shard's bytes with the manifest's sha256.

    Raises:
        InputError: it is missing or another file.
    """
    path = Path(data) / shard.file
    remedy = "copy the data set again, or prepare it again with `batchscope prepare`"
    if not path.is_file():
        raise InputError(f"{path} is missing: {remedy}")
    actual = sha256_of_file(str(path))
    if actual != shard.sha256:
        raise InputError(f"{path} has sha256 {actual}, but the manifest says {shard.sha256}: {remedy}")


def _decode(source: Path, target: Path) -> None:
    """Write the shard as one Arrow IPC batch, published by renaming."""
    table = pq.read_table(str(source), columns=["tokens", "label"]).combine_chunks()
    batch = pa.record_batch(
        [table.column("tokens").chunk(0), table.column("label").chunk(0)], names=["tokens", "label"]
    )
    handle, temporary = tempfile.mkstemp(dir=target.parent, suffix=".partial")
    os.close(handle)
    try:
        with open(temporary, "wb") as file:
            with pa.ipc.new_file(file, batch.schema) as writer:
                writer.write_batch(batch)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    finally:
        Path(temporary).unlink(missing_ok=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock across processes; the system frees it when its holder dies."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
