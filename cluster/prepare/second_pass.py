"""The second pass over the sources: it writes the tokenizer and the shards, and describes them in the manifest."""

import hashlib
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from importlib.metadata import version

import numpy as np
import pyarrow as pa

from cluster.prepare import piece as piece_module
from cluster.prepare import vocabulary as words_module
from cluster.prepare.first_pass import FirstPass, check_sizes
from cluster.prepare.held_out import settled
from cluster.prepare.labels import REGRESSION
from cluster.prepare.piece import ReadingRules
from cluster.prepare.publish import Staged
from cluster.prepare.repeats import Repeats
from cluster.prepare.shards import SplitWriter
from cluster.prepare.tokens import dtype_of
from cluster.prepare.work import Work
from trainer.data.inputs import TOKENS, VECTORS
from trainer.data.manifest import LANGUAGE_MODEL, SPLITS, Manifest
from trainer.errors import InputError


def write(work: Work, found: FirstPass, reading: ReadingRules, staged: Staged, *, shard_bytes: int) -> Manifest:
    """The second pass: write the tokenizer (for text) and the shards; return the manifest that describes them."""
    names, dtype, tokenizer_json, max_tokens = [], "float32", b"", reading.max_tokens
    if found.inputs.kind == TOKENS:
        names = words_module.names(found.tokenizer)
        dtype = dtype_of(len(names))
        tokenizer_json = words_module.to_json(found.tokenizer, max_tokens=max_tokens).encode()
        take(staged, "tokenizer.json", tokenizer_json)
    elif found.inputs.kind == VECTORS:
        max_tokens = found.inputs.width
    with ExitStack() as stack:
        writers = [
            stack.enter_context(
                SplitWriter(
                    staged,
                    name,
                    labels=len(found.labels.names),
                    shard_bytes=shard_bytes,
                    column=found.inputs.column,
                )
            )
            for name in SPLITS
        ]
        repeats = _fill(writers, work, found, reading, dtype=dtype)
    return Manifest(
        task=found.labels.task,
        token_dtype=dtype,
        label_dtype={REGRESSION: "float32", LANGUAGE_MODEL: ""}.get(found.labels.task, "int32"),
        vocabulary_size=len(names),
        max_tokens=max_tokens,
        label_names=found.labels.names,
        tokenizer_sha256=hashlib.sha256(tokenizer_json).hexdigest() if tokenizer_json else "",
        splits={
            name: replace(writer.split(), repeated_rows=repeated)
            for name, writer, repeated in zip(SPLITS, writers, repeats.counts(), strict=True)
        },
        skipped_rows=found.skipped,
        tool_version=version("batchscope"),
        data_hash="",
        kind=found.inputs.kind,
        features_width=found.inputs.width,
    )


def _fill(
    writers: Sequence[SplitWriter], work: Work, found: FirstPass, reading: ReadingRules, *, dtype: str
) -> Repeats:
    """Write every row into its split; return the rows that repeat a row of an earlier split."""
    task = partial(
        piece_module.tokens,
        reading=reading,
        labels=found.labels,
        tokenizer=found.tokenizer,
        dtype=dtype,
    )
    sizes, repeats = np.zeros(len(SPLITS), np.int64), Repeats()
    for table, splits in settled(work.each("writing tokens", task, found.pieces)):
        sizes += np.bincount(splits, minlength=len(SPLITS))
        for index, writer in enumerate(writers):
            rows = table.filter(pa.array(splits == index))
            if "sequence" in rows.column_names:
                repeats.add(index, rows["sequence"].drop_null().to_numpy())
                rows = rows.drop_columns(["sequence"])
            writer.write(rows)
    if (written := int(sizes.sum())) != found.kept:
        raise InputError(
            f"the sources changed while they were being read ({found.kept} rows, then {written}): run again"
        )
    check_sizes(sizes.tolist(), written, reading)
    return repeats


def take(staged: Staged, name: str, content: bytes) -> None:
    """Stage a file with this content."""
    (staged.folder / name).write_bytes(content)
    staged.take(staged.folder / name)
