"""The journey of a prepared data set: find -> read -> check -> split -> count -> tokenise -> write -> publish.

The sources are read twice: once to count words and labels, once to write. `--group-by` needs every row's key before
the first split is known and reads once more; CSV, which has no types, once more for its labels. Nothing but counts
(and with groups a hash of the text and of the group) stays in memory.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import pyarrow as pa
from tokenizers import Tokenizer

from cluster.prepare import vocabulary as words_module
from cluster.prepare.batches import BATCH_ROWS, Columns, read
from cluster.prepare.content import data_hash
from cluster.prepare.labels import CLASSIFICATION, REGRESSION, Counts, Labels, count, decide, encode
from cluster.prepare.lines import field_type
from cluster.prepare.progress import Progress, silent
from cluster.prepare.publish import MANIFEST, refuse_used, staging
from cluster.prepare.rows import Rows, checked
from cluster.prepare.shards import SHARD_BYTES, SplitWriter
from cluster.prepare.sources import Source, find
from cluster.prepare.splits import Splits, Splitter, splitter
from cluster.prepare.tokens import dtype_of, tokenise
from trainer.errors import InputError
from trainer.manifest import SPLITS, Manifest

DEFAULT_MAX_TOKENS = 200
DEFAULT_VOCABULARY = 20_000


@dataclass(frozen=True, kw_only=True)
class _Input:
    """The checked rows of the sources, to be read as often as needed."""

    files: tuple[Source, ...]
    columns: Columns
    skip_empty: bool
    batch_rows: int
    progress: Progress

    def rows(self, stage: str) -> Iterator[Rows]:
        """All rows from the start; `stage` names the pass in the progress bar."""
        done, total = 0, max(1, sum(file.bytes for file in self.files))
        batches = read(self.files, self.columns, self.batch_rows)
        for rows in checked(batches, self.columns, skip_empty=self.skip_empty):
            yield rows
            done += rows.source.bytes
            self.progress(stage, min(1.0, done / total))


@dataclass(frozen=True, kw_only=True)
class _Found:
    """What the first pass found."""

    labels: Labels
    tokenizer: Tokenizer
    rows: int
    skipped: int


def prepare(
    sources: Sequence[str],
    dest: str,
    *,
    text: str,
    label: str,
    group_by: str | None = None,
    max_tokens: int = DEFAULT_MAX_TOKENS,
    vocabulary: int = DEFAULT_VOCABULARY,
    task: str | None = None,
    skip_empty: bool = False,
    split_seed: int = 0,
    batch_rows: int = BATCH_ROWS,
    shard_bytes: int = SHARD_BYTES,
    progress: Progress = silent,
) -> Manifest:
    """Read articles from files, folders or `s3://` addresses and write a prepared data set to `dest`.

    Args:
        sources: Parquet, JSONL or CSV; all of one format.
        dest: a folder or `s3://` address where nothing stands yet.
        text: the column with the text.
        label: the column with the label. Floats make it regression, anything else classification.
        group_by: keep rows of one value of this column in one split (duplicates of a text always are).
        max_tokens: longer rows are cut on the right.
        vocabulary: ids at most, padding and unknown among them.
        task: `classification` or `regression`, where the label's type should not decide.
        skip_empty: leave out empty texts instead of refusing them.
        split_seed: another one gives other splits.
        batch_rows: rows read at a time; changes memory and speed, never the result.
        shard_bytes: about the size of a shard's file; never changes `data_hash`.
        progress: called with a stage's name and the share of it that is done.

    Raises:
        InputError: the input cannot be used as it is; the message names the thing, the value and the remedy.
        NotReadyError: a store cannot be read or written.
    """
    _check_options(text, label, max_tokens, vocabulary, task, split_seed)
    refuse_used(dest)
    files = find(sources)
    columns = Columns(text=text, label=label, group=group_by)
    if files[0].format in ("csv", "tsv"):
        columns = replace(columns, field_type=field_type(files, columns))
    given = _Input(files=files, columns=columns, skip_empty=skip_empty, batch_rows=batch_rows, progress=progress)
    splits_of = splitter(lambda: given.rows("reading groups"), grouped=group_by is not None, split_seed=split_seed)
    found = _count(given, splits_of, vocabulary=vocabulary, task=task)
    with staging(dest) as folder:
        manifest = _write(given, found, splits_of, folder, max_tokens=max_tokens, shard_bytes=shard_bytes)
        manifest = replace(manifest, group_by=group_by or "", split_seed=split_seed)
        (folder / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    return manifest


def _check_options(text: str, label: str, max_tokens: int, vocabulary: int, task: str | None, split_seed: int) -> None:
    if text == label:
        raise InputError(f"--text and --label both name the column {text!r}: they must be two")
    if max_tokens < 1:
        raise InputError(f"--max-tokens is {max_tokens}: use 1 or more")
    if vocabulary < 3:
        raise InputError(f"--vocabulary is {vocabulary}: use 3 or more (two ids are padding and unknown)")
    if task not in (None, CLASSIFICATION, REGRESSION):
        raise InputError(f"--task is {task!r}: use {CLASSIFICATION} or {REGRESSION}")
    if not 0 <= split_seed < 2**63:
        raise InputError(f"--split-seed is {split_seed}: use a whole number from 0")


def _count(given: _Input, splits_of: Splitter, *, vocabulary: int, task: str | None) -> _Found:
    """The first pass: labels of all rows, words of the train split."""
    counts: Counts = {}
    totals = {"rows": 0, "skipped": 0}
    sizes = [0] * len(SPLITS)

    def train_texts() -> Iterator[str]:
        for rows in given.rows("counting words"):
            splits = splits_of(rows)
            count(counts, rows, splits, column=given.columns.label, task=task)
            totals["rows"] += len(rows.texts)
            totals["skipped"] += rows.skipped
            for index in range(len(SPLITS)):
                sizes[index] += int((splits == index).sum())
            yield from (text for text, split in zip(rows.texts, splits.tolist(), strict=True) if split == 0)

    words: words_module.Words = {}
    words_module.count_words(train_texts(), words)
    if not totals["rows"]:
        raise InputError("the sources have no rows with text: name files that hold articles")
    _check_sizes(sizes, grouped=given.columns.group is not None)
    labels = decide(counts, column=given.columns.label, task=task)
    return _Found(labels=labels, tokenizer=words_module.build(words, size=vocabulary), **totals)


def _check_sizes(sizes: list[int], *, grouped: bool) -> None:
    for name, size in zip(SPLITS, sizes, strict=True):
        if not size:
            reason = "their groups are too few or too large" if grouped else "they are too few or all alike"
            raise InputError(
                f"the {name} split is empty, of {sum(sizes)} rows in all ({reason}): add rows, or try another "
                "--split-seed"
            )


def _write(
    given: _Input, found: _Found, splits_of: Splitter, folder: Path, *, max_tokens: int, shard_bytes: int
) -> Manifest:
    """The second pass: shards, tokenizer and what the manifest says of them."""
    names = words_module.names(found.tokenizer)
    dtype = dtype_of(len(names))
    tokenizer_json = words_module.to_json(found.tokenizer, max_tokens=max_tokens).encode()
    (folder / "tokenizer.json").write_bytes(tokenizer_json)
    written = 0
    with ExitStack() as stack:
        writers = [
            stack.enter_context(
                SplitWriter(
                    folder, name, max_tokens=max_tokens, labels=len(found.labels.names), shard_bytes=shard_bytes
                )
            )
            for name in SPLITS
        ]
        for rows in given.rows("writing tokens"):
            table = _table(rows, found, given.columns.label, max_tokens=max_tokens, dtype=dtype)
            splits: Splits = splits_of(rows)
            for index, writer in enumerate(writers):
                writer.write(table.filter(pa.array(splits == index)))
            written += table.num_rows
    if written != found.rows:
        raise InputError(f"the sources changed while they were read ({found.rows} rows, then {written}): run again")
    return Manifest(
        task=found.labels.task,
        token_dtype=dtype,
        label_dtype="float32" if found.labels.task == REGRESSION else "int32",
        vocabulary_size=len(names),
        max_tokens=max_tokens,
        label_names=found.labels.names,
        tokenizer_sha256=hashlib.sha256(tokenizer_json).hexdigest(),
        splits={name: writer.split() for name, writer in zip(SPLITS, writers, strict=True)},
        skipped_rows=found.skipped,
        tool_version=version("batchscope"),
        data_hash=data_hash(
            task=found.labels.task,
            label_names=found.labels.names,
            vocabulary=names,
            splits={name: writer.digest() for name, writer in zip(SPLITS, writers, strict=True)},
        ),
    )


def _table(rows: Rows, found: _Found, label: str, *, max_tokens: int, dtype: str) -> pa.Table:
    tokens, truncated = tokenise(found.tokenizer, rows.texts, max_tokens=max_tokens, dtype=dtype)
    return pa.table(
        {
            "row": pa.array(rows.rows),
            "tokens": tokens,
            "label": encode(found.labels, rows, label),
            "truncated": truncated,
        }
    )
