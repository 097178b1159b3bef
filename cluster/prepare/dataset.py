"""The journey of a prepared data set: find -> read -> check -> split -> count -> tokenise -> write -> publish.

The sources are read twice: once to count words and labels, once to write. `--group-by` needs the keys of all rows
before any split is known, so it reads once more; CSV, which has no types, is read once more for its labels (or, without
labels, for its quotes). Only counts stay in memory, and with groups a hash of each row's text and group.

`piece` does the work on one file, and the `Work` decides where. The results of the files are put together here, in the
order of the files, so the data set is the same wherever the work was done. `data_hash` covers all rows in order and
cannot be put together from parts, so shards are written here and not on the cluster, as the tokens arrive. Writing and
hashing took 2 to 6 % of the time with the bundled articles on 2 processors.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import numpy as np

from cluster.prepare import piece as piece_module
from cluster.prepare.batches import BATCH_ROWS, Columns
from cluster.prepare.fields import widest
from cluster.prepare.first_pass import count
from cluster.prepare.labels import CLASSIFICATION
from cluster.prepare.options import check_columns, check_options
from cluster.prepare.piece import Piece, ReadingRules
from cluster.prepare.progress import Progress, silent
from cluster.prepare.publish import MANIFEST, refuse_used, staging
from cluster.prepare.second_pass import take, write
from cluster.prepare.shards import SHARD_BYTES
from cluster.prepare.sources import find
from cluster.prepare.splits import by_component
from cluster.prepare.work import Here, Work
from trainer.data.manifest import Manifest, identified
from trainer.errors import InputError

DEFAULT_MAX_TOKENS = 200
DEFAULT_VOCABULARY = 20_000


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
        dest: an empty or new folder, or an `s3://` address where nothing exists yet.
        text: the column with the text.
        label: the column with the label. Floats make it regression, anything else classification. None only for the
            task `language_model`.
        features: instead of `text`, the column with numbers: a list of them, or a list of such lists.
        group_by: keep rows with the same value in this column in one split (duplicates of a text always stay together).
        max_tokens: longer rows are cut on the right.
        vocabulary: the largest number of ids, including padding and unknown.
        task: `classification` or `regression`, if the label's type should not decide; or `language_model`.
        skip_empty: leave out empty texts instead of refusing them.
        split_seed: another seed gives other splits.
        batch_rows: rows read at a time; changes memory and speed, never the result.
        shard_bytes: the approximate size of a shard's file; never changes `data_hash`.
        address: the Ray cluster that reads and tokenises (`on_ray.connected`), which never changes the result; None
            for this process. The cluster's machines read the sources, but `dest` is written from here.
        progress: called with a stage's name and the fraction of it that is done.

    Raises:
        InputError: the input cannot be used as it is; the message names the thing, the value and the remedy.
        NotReadyError: a store cannot be read or written, or the cluster cannot do the work.
    """
    columns = Columns(text=text, label=label, features=features, group=group_by, classes=task == CLASSIFICATION)
    check_columns(columns, task, skip_empty=skip_empty)
    check_options(max_tokens, vocabulary, split_seed)
    refuse_used(dest)
    pieces = tuple(Piece(source=source) for source in find(sources))
    with _work(address, progress) as work:
        if pieces[0].source.format in ("csv", "tsv"):
            columns = _of_csv(work, pieces, columns)
        reading = ReadingRules(
            columns=columns, skip_empty=skip_empty, split_seed=split_seed, batch_rows=batch_rows, max_tokens=max_tokens
        )
        first_pass = count(work, _grouped(work, pieces, reading), reading, vocabulary=vocabulary, task=task)
        with staging(dest) as staged:
            manifest = write(work, first_pass, reading, staged, shard_bytes=shard_bytes)
            manifest = identified(replace(manifest, group_by=group_by or "", split_seed=split_seed))
            take(staged, MANIFEST, manifest.to_json().encode())
    return manifest


@contextmanager
def _work(address: str | None, progress: Progress) -> Iterator[Work]:
    if address is None:
        yield Here(progress)
        return
    from cluster.prepare.on_ray import connected

    with connected(address, progress) as work:
        yield work


def _of_csv(work: Work, pieces: Sequence[Piece], columns: Columns) -> Columns:
    """The columns with the type of their labels, which CSV files do not state; without labels, check the quotes.

    Raises:
        InputError: `features` are wanted, which CSV cannot hold.
    """
    if columns.features is not None:
        raise InputError(
            f"--features {columns.features}: a field of CSV cannot hold a list: convert it to Parquet or JSONL"
        )
    if columns.label is not None:
        return replace(columns, field_type=_field_type(work, pieces, columns.label, names=columns.classes))
    if columns.text is not None:
        list(work.each("checking quotes", partial(piece_module.quotes_checked, text=columns.text), pieces))
    return columns


def _field_type(work: Work, pieces: Sequence[Piece], label: str, *, names: bool) -> str:
    """The type of the labels of CSV files, the widest of any file. If they are `names`, they stay as written."""
    kind = widest(set(work.each("reading labels", partial(piece_module.label_type, label=label), pieces)))
    return "string" if kind == "float" and names else kind


def _grouped(work: Work, pieces: Sequence[Piece], reading: ReadingRules) -> tuple[Piece, ...]:
    """The pieces, with the split of every row if rows have groups; that holds 16 bytes for each row."""
    if reading.columns.group is None:
        return tuple(pieces)
    task = partial(piece_module.group_hashes, reading=reading)
    texts, groups = zip(*work.each("reading groups", task, pieces), strict=True)
    splits = by_component(np.concatenate(texts), np.concatenate(groups), split_seed=reading.split_seed)
    borders = np.cumsum([len(part) for part in texts])[:-1]
    return tuple(replace(piece, splits=part) for piece, part in zip(pieces, np.split(splits, borders), strict=True))
