"""The journey of a prepared data set: find -> read -> check -> split -> count -> tokenise -> write -> publish.

The sources are read twice: once to count words and labels, once to write. `--group-by` needs the keys of all rows
before any split is known, so it reads once more; CSV, which has no types, is read once more for its labels (or, without
labels, for its quotes). Only counts stay in memory, hashes of rows (of at most ten million, to count duplicates), and
with groups a hash of each row's text and group.

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
from cluster.prepare.columns_of import columns_of
from cluster.prepare.fields import widest
from cluster.prepare.first_pass import count
from cluster.prepare.labels import CLASSIFICATION
from cluster.prepare.options import check_columns, check_options
from cluster.prepare.piece import Piece, ReadingRules
from cluster.prepare.progress import Progress, silent
from cluster.prepare.publish import MANIFEST, refuse_used, staging
from cluster.prepare.reading import OnRead, ignored, what_was_read
from cluster.prepare.second_pass import take, write
from cluster.prepare.shards import SHARD_BYTES
from cluster.prepare.sources import Source, find
from cluster.prepare.splits import by_component
from cluster.prepare.text_form import check_form
from cluster.prepare.tokenizing import chosen
from cluster.prepare.vocabulary import WORDS
from cluster.prepare.wide import with_wide
from cluster.prepare.work import Here, Work
from trainer.data.manifest import Manifest, identified
from trainer.errors import InputError

DEFAULT_MAX_TOKENS = 200


def prepare(
    sources: Sequence[str],
    dest: str,
    *,
    text: str | None = None,
    label: str | None = None,
    features: str | None = None,
    group_by: str | None = None,
    max_tokens: int = DEFAULT_MAX_TOKENS,
    vocabulary: int | None = None,
    tokenizer: str = WORDS,
    task: str | None = None,
    skip_empty: bool = False,
    skip_unlabelled: bool = False,
    encoding: str | None = None,
    delimiter: str | None = None,
    split_seed: int = 0,
    batch_rows: int = BATCH_ROWS,
    shard_bytes: int = SHARD_BYTES,
    address: str | None = None,
    progress: Progress = silent,
    on_read: OnRead = ignored,
) -> Manifest:
    """Read articles from files, folders or `s3://` addresses and write a prepared data set to `dest`.

    The arguments are those of `batchscope.prepare`, and these. `batch_rows` are read at a time, and a shard's file has
    about `shard_bytes`; neither changes the result. `on_read` is called once, before anything is written.

    Raises:
        InputError: the input cannot be used as it is; the message names the thing, the value and the remedy.
        NotReadyError: a store cannot be read or written, or the cluster cannot do the work.
    """
    columns = Columns(text=text, label=label, features=features, group=group_by, classes=task == CLASSIFICATION)
    check_columns(columns, task, skip_empty=skip_empty, tokenizer=tokenizer)
    check_options(max_tokens, split_seed)
    tokenizing = chosen(tokenizer, vocabulary)
    refuse_used(dest)
    files = _as_written(find(sources), encoding, delimiter)
    if features is not None:
        columns = with_wide(columns, features, partial(columns_of, files[0], columns))
    pieces = tuple(Piece(source=file) for file in files)
    with _work(address, progress) as work:
        if files[0].format in ("csv", "tsv"):
            columns, pieces = _of_csv(work, pieces, columns)
        reading = ReadingRules(
            columns=columns,
            skip_empty=skip_empty,
            skip_unlabelled=skip_unlabelled,
            split_seed=split_seed,
            batch_rows=batch_rows,
            max_tokens=max_tokens,
            parts=tokenizing.parts,
        )
        first_pass = count(work, _grouped(work, pieces, reading), reading, tokenizing=tokenizing, task=task)
        on_read(what_was_read([piece.source for piece in pieces], first_pass))
        with staging(dest) as staged:
            manifest = write(work, first_pass, reading, staged, shard_bytes=shard_bytes)
            manifest = identified(replace(manifest, group_by=group_by or "", split_seed=split_seed))
            take(staged, MANIFEST, manifest.to_json().encode())
    return manifest


def _as_written(files: Sequence[Source], encoding: str | None, delimiter: str | None) -> tuple[Source, ...]:
    """The files with the encoding and delimiter that were given, if they can have them."""
    known = check_form(files[0].format, encoding=encoding, delimiter=delimiter)
    return tuple(replace(file, encoding=known[0], delimiter=known[1]) for file in files)


@contextmanager
def _work(address: str | None, progress: Progress) -> Iterator[Work]:
    if address is None:
        yield Here(progress)
        return
    from cluster.prepare.on_ray import connected

    with connected(address, progress) as work:
        yield work


def _of_csv(work: Work, pieces: tuple[Piece, ...], columns: Columns) -> tuple[Columns, tuple[Piece, ...]]:
    """The columns with the type of their labels, and the files with their form: CSV files state neither.

    Quotes are checked on the way, by the labels or, without labels, by the other columns.

    Raises:
        InputError: a column of lists is wanted, which CSV cannot hold.
    """
    if columns.features is not None and not columns.wide:
        raise InputError(
            f"--features {columns.features}: a field of CSV cannot hold a list: convert it to Parquet or JSONL, or "
            "name columns of one number each, as in --features a,b,c or 'x*'"
        )
    if columns.label is not None:
        looks = list(work.each("reading labels", partial(piece_module.label_type, columns=columns), pieces))
    else:
        assert columns.text is not None
        looks = list(work.each("checking quotes", partial(piece_module.quotes_checked, text=columns.text), pieces))
    kind = widest({look.label_type for look in looks})
    # If labels are names, they stay as written.
    columns = replace(columns, field_type="string" if kind == "float" and columns.classes else kind)
    return columns, tuple(
        replace(piece, source=replace(piece.source, delimiter=look.delimiter, encoding=look.encoding))
        for piece, look in zip(pieces, looks, strict=True)
    )


def _grouped(work: Work, pieces: tuple[Piece, ...], reading: ReadingRules) -> tuple[Piece, ...]:
    """The pieces, with the split of every row if rows have groups; that holds 16 bytes for each row."""
    if reading.columns.group is None:
        return pieces
    task = partial(piece_module.group_hashes, reading=reading)
    texts, groups = zip(*work.each("reading groups", task, pieces), strict=True)
    splits = by_component(np.concatenate(texts), np.concatenate(groups), split_seed=reading.split_seed)
    borders = np.cumsum([len(part) for part in texts])[:-1]
    return tuple(replace(piece, splits=part) for piece, part in zip(pieces, np.split(splits, borders), strict=True))
