"""What is done to one source file, in this process or on a machine of a cluster, knowing nothing of the others.

Each function is one pass over the file. Its result depends on the file and the arguments alone, so that what is made
of all results in the order of the files is the same wherever the files were worked on.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer

from cluster.prepare import labels as labels_module
from cluster.prepare.batches import Columns
from cluster.prepare.delimited import label_type as type_of_labels
from cluster.prepare.delimited import refuse_swallowed
from cluster.prepare.features import truncated
from cluster.prepare.files import read
from cluster.prepare.held_out import Given, by_tokens
from cluster.prepare.labels import Counts, Labels, encode
from cluster.prepare.rows import CheckedRows, checked
from cluster.prepare.sources import Source
from cluster.prepare.splits import Hashes, Splits, by_hash, hashes
from cluster.prepare.tokens import sequences, tokenise
from cluster.prepare.vocabulary import Words, count_words
from trainer.data.inputs import TEXT, Inputs
from trainer.data.manifest import SPLITS
from trainer.errors import InputError

# Called with the share of the file that is done, 0 to 1.
Tell = Callable[[float], None]


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One file, and what the passes before have found for it.

    `start` is the number of rows, skipped ones included, in the files before it; `splits` the split of each of its
    kept rows where groups decide it.
    """

    source: Source
    start: int = 0
    splits: Splits | None = None


@dataclass(frozen=True, kw_only=True)
class ReadingRules:
    """How every file is read and split: the arguments of `cluster.prepare.prepare`."""

    columns: Columns
    skip_empty: bool
    split_seed: int
    batch_rows: int
    max_tokens: int


@dataclass(frozen=True, kw_only=True)
class Counted:
    """What a file holds: rows that were kept and skipped, kept rows per split, labels per split, train's words.

    It may be open yet which of the rows that are not for training are for what (`held_out`). `inputs` is None when it
    has no rows.
    """

    kept: int
    skipped: int
    sizes: tuple[int, ...]
    labels: Counts
    words: Words
    inputs: Inputs | None


def label_type(piece: Piece, tell: Tell, *, label: str) -> Iterator[str]:
    """The type of a CSV file's labels (one value)."""
    yield type_of_labels(piece.source, label)


def quotes_checked(piece: Piece, tell: Tell, *, text: str) -> Iterator[None]:
    """Nothing (one value), where no quote of a CSV file without labels has swallowed rows."""
    refuse_swallowed(piece.source, text)
    yield None


def group_hashes(piece: Piece, tell: Tell, *, reading: ReadingRules) -> Iterator[tuple[Hashes, Hashes]]:
    """The hashes of the rows' texts (or numbers) and of their groups (one value)."""
    texts, groups = [np.zeros(0, dtype=np.uint64)], [np.zeros(0, dtype=np.uint64)]
    for rows in _rows(piece, tell, reading):
        texts.append(hashes(rows.keys, split_seed=reading.split_seed))
        groups.append(hashes(rows.groups or [], split_seed=reading.split_seed))
    yield np.concatenate(texts), np.concatenate(groups)


def count(piece: Piece, tell: Tell, *, reading: ReadingRules, task: str | None) -> Iterator[Counted]:
    """Labels of all rows, words of the train split (one value)."""
    labels: Counts = {}
    words: Words = {}
    sizes = np.zeros(len(SPLITS), dtype=np.int64)
    skipped = 0
    inputs: Inputs | None = None

    def train_texts() -> Iterator[str]:
        nonlocal skipped, inputs
        for rows in _rows(piece, tell, reading):
            splits = _splits(rows, piece, reading)
            labels_module.count(labels, rows, splits, column=reading.columns.label, task=task)
            sizes[:] += np.bincount(splits, minlength=len(SPLITS))
            skipped += rows.skipped
            inputs = rows.features.inputs if rows.features else TEXT
            yield from (text for text, split in zip(rows.texts, splits.tolist(), strict=False) if split == 0)

    count_words(train_texts(), words)
    yield Counted(
        kept=int(sizes.sum()),
        skipped=skipped,
        sizes=tuple(sizes.tolist()),
        labels=labels,
        words=words,
        inputs=inputs,
    )


def tokens(
    piece: Piece, tell: Tell, *, reading: ReadingRules, labels: Labels, tokenizer: Tokenizer, dtype: str
) -> Iterator[Given]:
    """The rows as they stand in shards, with the split of each.

    Two more columns are for the counts: whether a row was `truncated`, and, where a text has unknown tokens, the hash
    of its `sequence`.
    """
    for rows in _rows(piece, tell, reading):
        splits, tokens_split = _splits(rows, piece, reading), None
        columns: dict[str, pa.Array] = {"row": pa.array(rows.rows + piece.start)}
        if rows.features is None:
            lists, cut = tokenise(tokenizer, rows.texts, max_tokens=reading.max_tokens, dtype=dtype)
            seen, unknown = sequences(lists, split_seed=reading.split_seed)
            tokens_split = by_tokens(splits, seen) if piece.splits is None else None
            columns |= {"tokens": lists, "sequence": pa.array(seen, mask=~unknown)}
        else:
            lists, cut = truncated(rows.features, reading.max_tokens)
            columns["features"] = lists
        if reading.columns.label is not None:
            columns["label"] = encode(labels, rows, reading.columns.label)
        yield pa.table(columns | {"truncated": cut}), splits, tokens_split


def _rows(piece: Piece, tell: Tell, reading: ReadingRules) -> Iterator[CheckedRows]:
    batches = read(piece.source, reading.columns, reading.batch_rows)
    done = 0.0
    for rows in checked(batches, reading.columns, skip_empty=reading.skip_empty, max_tokens=reading.max_tokens):
        yield rows
        done += rows.source.share
        tell(min(1.0, done))


def _splits(rows: CheckedRows, piece: Piece, reading: ReadingRules) -> Splits:
    if piece.splits is None:
        return by_hash(hashes(rows.keys, split_seed=reading.split_seed))
    splits = piece.splits[rows.first : rows.first + len(rows.keys)]
    if len(splits) != len(rows.keys):
        raise InputError(f"source {piece.source.name} changed while it was read: leave it alone and run again")
    return splits
