"""The journey of a prepared data set: find -> read -> check -> split -> count -> tokenise -> write -> publish.

The sources are read twice: once to count words and labels, once to write. `--group-by` needs every row's key before
the first split is known and reads once more; CSV, which has no types, once more for its labels (without labels, for
its quotes). Nothing but counts (and with groups a hash of the text and of the group) stays in memory.

What is done to one file is in `piece`, where it is done is the `Work`; the files' results are put together here, in
the order of the files, so that the data set is the same whoever did the work. `data_hash` runs over all rows in order
and cannot be put together from parts: shards are written here and not on the cluster, from tokens that come as they
are made. Writing and hashing were 2 to 6 % of the time with the bundled articles on 2 processors.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer

from cluster.prepare import piece as piece_module
from cluster.prepare import vocabulary as words_module
from cluster.prepare.batches import BATCH_ROWS, Columns
from cluster.prepare.fields import widest
from cluster.prepare.held_out import settled
from cluster.prepare.labels import CLASSIFICATION, REGRESSION, Counts, Labels, decide, merge
from cluster.prepare.options import check_columns, check_options
from cluster.prepare.piece import Piece, Reading
from cluster.prepare.progress import Progress, silent
from cluster.prepare.publish import MANIFEST, Staged, refuse_used, staging
from cluster.prepare.repeats import Repeats
from cluster.prepare.shards import SHARD_BYTES, SplitWriter
from cluster.prepare.sources import find
from cluster.prepare.splits import by_component
from cluster.prepare.tokens import dtype_of
from cluster.prepare.work import Here, Work
from trainer.data.inputs import TEXT, TOKENS, VECTORS, Inputs
from trainer.data.manifest import LANGUAGE_MODEL, SPLITS, Manifest, identified
from trainer.errors import InputError

DEFAULT_MAX_TOKENS = 200
DEFAULT_VOCABULARY = 20_000


@dataclass(frozen=True, kw_only=True)
class _Found:
    """What the first pass found, and the pieces as the second one needs them."""

    pieces: tuple[Piece, ...]
    labels: Labels
    inputs: Inputs
    tokenizer: Tokenizer
    kept: int
    skipped: int


def prepare(
    sources: Sequence[str],
    dest: str,
    *,
    text: str | None = None,
    label: str | None = None,
    features: str | None = None,
    group_by: str | None = None,
    max_tokens: int = DEFAULT_MAX_TOKENS,
    vocabulary: int = DEFAULT_VOCABULARY,
    task: str | None = None,
    skip_empty: bool = False,
    split_seed: int = 0,
    batch_rows: int = BATCH_ROWS,
    shard_bytes: int = SHARD_BYTES,
    address: str | None = None,
    progress: Progress = silent,
) -> Manifest:
    """Read articles from files, folders or `s3://` addresses and write a prepared data set to `dest`.

    Args:
        sources: Parquet, JSONL or CSV; all of one format.
        dest: a folder or `s3://` address where nothing stands yet.
        text: the column with the text.
        label: the column with the label. Floats make it regression, anything else classification. None for the task
            `language_model` alone.
        features: instead of `text` the column with numbers: a list of them, or a list of such lists.
        group_by: keep rows of one value of this column in one split (duplicates of a text always are).
        max_tokens: longer rows are cut on the right.
        vocabulary: ids at most, padding and unknown among them.
        task: `classification` or `regression`, where the label's type should not decide; or `language_model`.
        skip_empty: leave out empty texts instead of refusing them.
        split_seed: another one gives other splits.
        batch_rows: rows read at a time; changes memory and speed, never the result.
        shard_bytes: about the size of a shard's file; never changes `data_hash`.
        address: the Ray cluster that reads and tokenises (`on_ray.connected`), which never changes the result; None
            for this process. Its machines read the sources, `dest` is written from here.
        progress: called with a stage's name and the share of it that is done.

    Raises:
        InputError: the input cannot be used as it is; the message names the thing, the value and the remedy.
        NotReadyError: a store cannot be read or written, or the cluster cannot do the work.
    """
    columns = Columns(text=text, label=label, features=features, group=group_by, classes=task == CLASSIFICATION)
    check_columns(columns, task, skip_empty=skip_empty)
    check_options(max_tokens, vocabulary, split_seed)
    refuse_used(dest)
    pieces = tuple(Piece(source=source) for source in find(sources))
    of_csv = pieces[0].source.format in ("csv", "tsv")
    if of_csv and features is not None:
        raise InputError(f"--features {features}: a field of CSV cannot hold a list: convert it to Parquet or JSONL")
    with _work(address, progress) as work:
        if of_csv and label is not None:
            columns = replace(columns, field_type=_field_type(work, pieces, label, names=columns.classes))
        elif of_csv and text is not None:
            list(work.each("checking quotes", partial(piece_module.quotes_checked, text=text), pieces))
        reading = Reading(
            columns=columns,
            skip_empty=skip_empty,
            split_seed=split_seed,
            batch_rows=batch_rows,
            max_tokens=max_tokens,
        )
        if group_by is not None:
            pieces = _grouped(work, pieces, reading)
        found = _count(work, pieces, reading, vocabulary=vocabulary, task=task)
        with staging(dest) as staged:
            manifest = _write(work, found, reading, staged, shard_bytes=shard_bytes)
            manifest = identified(replace(manifest, group_by=group_by or "", split_seed=split_seed))
            _take(staged, MANIFEST, manifest.to_json().encode())
    return manifest


@contextmanager
def _work(address: str | None, progress: Progress) -> Iterator[Work]:
    if address is None:
        yield Here(progress)
        return
    from cluster.prepare.on_ray import connected

    with connected(address, progress) as work:
        yield work


def _field_type(work: Work, pieces: Sequence[Piece], label: str, *, names: bool) -> str:
    """The type of the labels of CSV files: the widest of any file. Those that are `names` keep what was written."""
    found = widest(set(work.each("reading labels", partial(piece_module.label_type, label=label), pieces)))
    return "string" if found == "float" and names else found


def _grouped(work: Work, pieces: Sequence[Piece], reading: Reading) -> tuple[Piece, ...]:
    """The pieces with the split of every row. 16 bytes of each are held."""
    task = partial(piece_module.group_hashes, reading=reading)
    texts, groups = zip(*work.each("reading groups", task, pieces), strict=True)
    splits = by_component(np.concatenate(texts), np.concatenate(groups), split_seed=reading.split_seed)
    borders = np.cumsum([len(part) for part in texts])[:-1]
    return tuple(replace(piece, splits=part) for piece, part in zip(pieces, np.split(splits, borders), strict=True))


def _count(work: Work, pieces: Sequence[Piece], reading: Reading, *, vocabulary: int, task: str | None) -> _Found:
    """The first pass: labels of all rows, words of the train split."""
    label = reading.columns.label
    counts: Counts = {}
    words: words_module.Words = {}
    sizes, skipped, starts = np.zeros(len(SPLITS), dtype=np.int64), 0, [0]
    inputs: Inputs | None = None
    for counted in work.each("counting words", partial(piece_module.count, reading=reading, task=task), pieces):
        merge(counts, counted.labels, column=label)
        words_module.merge(words, counted.words)
        sizes += counted.sizes
        skipped += counted.skipped
        inputs = _same(inputs, counted.inputs, pieces[len(starts) - 1])
        starts.append(starts[-1] + counted.kept + counted.skipped)
    kept = int(sizes.sum())
    if not kept:
        what = "with text: name files that hold articles" if reading.columns.text else ": name files that hold some"
        raise InputError(f"the sources have no rows {what}")
    # Which of the rows that are held out are for what may be open (`held_out`): two splits need two.
    held = kept - int(sizes[0])
    _check_sizes([int(sizes[0]), held, held - 1], kept, reading)
    return _Found(
        pieces=tuple(replace(piece, start=start) for piece, start in zip(pieces, starts, strict=False)),
        labels=decide(counts, column=label, task=task),
        inputs=inputs or TEXT,
        tokenizer=words_module.build(words, size=vocabulary),
        kept=kept,
        skipped=skipped,
    )


def _same(before: Inputs | None, here: Inputs | None, piece: Piece) -> Inputs | None:
    """What the rows are to the model, the same in all files."""
    if before is not None and here not in (None, before):
        assert here is not None
        raise InputError(
            f"{piece.source.name} has {here.kind} of {here.width} numbers, the files before it {before.kind} of "
            f"{before.width}: make all rows alike, or prepare the files by themselves"
        )
    return before or here


def _check_sizes(sizes: Sequence[int], rows: int, reading: Reading) -> None:
    for name, size in zip(SPLITS, sizes, strict=True):
        if size <= 0:
            grouped = reading.columns.group is not None
            reason = "their groups are too few or too large" if grouped else "they are too few or all alike"
            raise InputError(
                f"the {name} split is empty, of {rows} rows in all ({reason}): add rows, or try another --split-seed"
            )


def _write(work: Work, found: _Found, reading: Reading, staged: Staged, *, shard_bytes: int) -> Manifest:
    """The second pass: tokenizer (of text) and shards, and what the manifest says of them."""
    names, dtype, tokenizer_json, max_tokens = [], "float32", b"", reading.max_tokens
    if found.inputs.kind == TOKENS:
        names = words_module.names(found.tokenizer)
        dtype = dtype_of(len(names))
        tokenizer_json = words_module.to_json(found.tokenizer, max_tokens=max_tokens).encode()
        _take(staged, "tokenizer.json", tokenizer_json)
    elif found.inputs.kind == VECTORS:
        max_tokens = found.inputs.width
    task = partial(
        piece_module.tokens,
        reading=reading,
        labels=found.labels,
        tokenizer=found.tokenizer,
        dtype=dtype,
    )
    sizes, repeats = np.zeros(len(SPLITS), np.int64), Repeats()
    with ExitStack() as stack:
        labels = len(found.labels.names)
        writers = [
            stack.enter_context(
                SplitWriter(
                    staged,
                    name,
                    max_tokens=max_tokens,
                    labels=labels,
                    shard_bytes=shard_bytes,
                    column=found.inputs.column,
                )
            )
            for name in SPLITS
        ]
        for table, splits in settled(work.each("writing tokens", task, found.pieces)):
            sizes += np.bincount(splits, minlength=len(SPLITS))
            for index, writer in enumerate(writers):
                rows = table.filter(pa.array(splits == index))
                if "sequence" in rows.column_names:
                    repeats.add(index, rows["sequence"].drop_null().to_numpy())
                    rows = rows.drop_columns(["sequence"])
                writer.write(rows)
    if (written := int(sizes.sum())) != found.kept:
        raise InputError(f"the sources changed while they were read ({found.kept} rows, then {written}): run again")
    _check_sizes(sizes.tolist(), written, reading)
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


def _take(staged: Staged, name: str, content: bytes) -> None:
    (staged.folder / name).write_bytes(content)
    staged.take(staged.folder / name)
