"""A prepared data set of random rows, in training shards of one size, for benchmarks of reading."""

from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trainer.data.manifest import SPLITS, Manifest, Shard, Split, identified, sha256_of_file

VOCABULARY, CLASSES = 20_000, 10
LENGTHS = (100, 200)
HELD_OUT_ROWS = 100


def write_prepared(folder: Path, *, shards: int, rows_a_shard: int) -> Manifest:
    """Write the data set; its rows have 100 to 200 tokens, its held-out splits one small shard each."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    sizes = {name: [rows_a_shard] * shards if name == "train" else [HELD_OUT_ROWS] for name in SPLITS}
    unidentified = Manifest(
        task="classification",
        token_dtype="uint16",
        label_dtype="int32",
        vocabulary_size=VOCABULARY,
        max_tokens=LENGTHS[1],
        label_names=tuple(f"topic {number}" for number in range(CLASSES)),
        tokenizer_sha256="",
        splits={
            name: _split(
                [_shard(folder / f"{name}-{number:05d}.parquet", rows, draw) for number, rows in enumerate(of)]
            )
            for name, of in sizes.items()
        },
        skipped_rows=0,
        tool_version="0",
        data_hash="",
    )
    manifest = identified(unidentified)
    (folder / "manifest.json").write_text(manifest.to_json())
    return manifest


def _shard(file: Path, rows: int, draw: np.random.Generator) -> Shard:
    lengths = draw.integers(LENGTHS[0], LENGTHS[1] + 1, rows)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype("int32")
    tokens = draw.integers(2, VOCABULARY, offsets[-1], dtype="uint16")
    columns = {
        "row": pa.array(np.arange(rows)),
        "tokens": pa.ListArray.from_arrays(pa.array(offsets), pa.array(tokens)),
        "label": pa.array(draw.integers(CLASSES, size=rows, dtype="int32")),
    }
    pq.write_table(pa.table(columns), file)
    return Shard(
        file=file.name,
        rows=rows,
        tokens=len(tokens),
        bytes=file.stat().st_size,
        sha256=sha256_of_file(str(file)),
    )


def _split(shards: list[Shard]) -> Split:
    return Split(
        rows=sum(shard.rows for shard in shards),
        tokens=sum(shard.tokens for shard in shards),
        label_counts=(),
        length_histogram=(),
        shards=tuple(shards),
        digest=sha256("".join(shard.sha256 for shard in shards).encode()).hexdigest(),
    )
