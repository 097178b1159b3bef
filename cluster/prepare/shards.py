"""Writing one split: its Parquet shards, its description in the manifest, and the hash of its content."""

import hashlib
import os
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cluster.prepare.moments import RunningMoments
from cluster.prepare.publish import Staged
from trainer.data.manifest import UNKNOWN_ID, Shard, Split, sha256_of_file

SHARD_BYTES = 64 * 2**20
ROW_GROUP_ROWS = 16_384
ROW_GROUP_BYTES = 8 * 2**20
PERCENTILES = (50, 90, 99)


class SplitWriter:
    """Holds the open shard of one split and passes on full ones. Once it is closed, `split` describes the split."""

    def __init__(self, staged: Staged, name: str, *, labels: int, shard_bytes: int, column: str = "tokens") -> None:
        self._staged, self._name, self._shard_bytes, self._column = staged, name, shard_bytes, column
        self._writer: pq.ParquetWriter | None = None
        self._pending: list[pa.Table] = []
        self._shards: list[Shard] = []
        self._shard_rows = self._shard_tokens = self._truncated = self._unknown = 0
        # How many rows have each length, up to the longest.
        self._lengths = np.zeros(1, dtype=np.int64)
        self._label_counts = np.zeros(labels, dtype=np.int64)
        self._moments = RunningMoments()
        self._hashes = tuple(hashlib.sha256() for _ in ("tokens", "lengths", "labels"))

    def __enter__(self) -> "SplitWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what is pending and close; after an error only close."""
        if kind is None:
            self._flush()
            self._close_shard()
        elif self._writer is not None:
            self._writer.close()

    def write(self, table: pa.Table) -> None:
        """Add rows: a table with the columns `row`, `tokens` or `features`, `label` if any, and `truncated`."""
        if not table.num_rows:
            return
        self._measure(table)
        self._pending.append(table.drop_columns(["truncated"]))
        rows = sum(part.num_rows for part in self._pending)
        if rows >= ROW_GROUP_ROWS or sum(part.nbytes for part in self._pending) >= ROW_GROUP_BYTES:
            self._flush()

    def split(self) -> Split:
        """The description of the split in the manifest."""
        lengths = np.flatnonzero(self._lengths)
        powers = np.array([int(length).bit_length() - 1 for length in lengths], dtype=np.int64)
        histogram = np.bincount(powers, weights=self._lengths[lengths]).astype(np.int64)
        return Split(
            rows=sum(shard.rows for shard in self._shards),
            tokens=sum(shard.tokens for shard in self._shards),
            label_counts=tuple(self._label_counts.tolist()),
            length_histogram=tuple(histogram.tolist()),
            shards=tuple(self._shards),
            length_percentiles=self._percentiles(),
            truncated_rows=self._truncated,
            unknown_tokens=self._unknown,
            digest=self._digest(),
            label_mean=self._moments.mean,
            label_variance=self._moments.variance,
        )

    def _digest(self) -> str:
        """The hash of the rows' tokens, lengths and labels in their order; not of the files' bytes."""
        return hashlib.sha256(b"".join(part.digest() for part in self._hashes)).hexdigest()

    def _measure(self, table: pa.Table) -> None:
        tokens = table[self._column].combine_chunks()
        flat = pc.list_flatten(tokens, recursive=True).to_numpy()
        lengths = pc.list_value_length(tokens).to_numpy()
        labels = table["label"].to_numpy() if "label" in table.column_names else np.zeros(0, np.int32)
        # Little-endian and of a fixed width, so that the hash is the same on any machine and for any token type.
        contents = [array.astype(f"<{array.dtype.kind}4") for array in (flat, lengths.astype("u4"), labels)]
        for part, values in zip(self._hashes, contents, strict=True):
            part.update(values.tobytes())
        counts = np.bincount(lengths, minlength=len(self._lengths))
        counts[: len(self._lengths)] += self._lengths
        self._lengths = counts
        if self._column == "tokens":
            self._unknown += int(np.count_nonzero(flat == UNKNOWN_ID))
        self._truncated += int(pc.sum(table["truncated"]).as_py())
        if len(self._label_counts):
            self._label_counts += np.bincount(labels, minlength=len(self._label_counts))
        elif labels.size:
            self._moments.add(labels)

    def _percentiles(self) -> tuple[int, ...]:
        ranks = np.cumsum(self._lengths)
        return tuple(int(np.searchsorted(100 * ranks, share * ranks[-1])) for share in PERCENTILES)

    def _flush(self) -> None:
        if not self._pending:
            return
        table = pa.concat_tables(self._pending).combine_chunks()
        self._pending = []
        if self._writer is None:
            self._writer = pq.ParquetWriter(str(self._path()), table.schema, compression="zstd")
        self._writer.write_table(table)
        self._shard_rows += table.num_rows
        self._shard_tokens += len(table[self._column].combine_chunks().flatten())
        if self._path().stat().st_size >= self._shard_bytes:
            self._close_shard()

    def _path(self) -> Path:
        return self._staged.folder / f"{self._name}-{len(self._shards):05}.parquet"

    def _close_shard(self) -> None:
        if self._writer is None:
            return
        self._writer.close()
        self._writer = None
        path = self._path()
        shard = Shard(
            file=path.name,
            rows=self._shard_rows,
            tokens=self._shard_tokens,
            bytes=os.path.getsize(path),
            sha256=sha256_of_file(str(path)),
        )
        self._shards.append(shard)
        self._shard_rows = self._shard_tokens = 0
        self._staged.take(path)
