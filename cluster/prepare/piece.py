"""The work on one source file, in this process or on a machine of a cluster, independent of the other files.

Each function is one pass over the file. Its result depends only on the file and the arguments, so the combination of
all results in the order of the files is the same wherever the work was done.
"""

import collections
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer

from cluster.prepare import faults
from cluster.prepare import labels as labels_module
from cluster.prepare.batches import Columns
from cluster.prepare.delimited import FirstLook, refuse_swallowed
from cluster.prepare.delimited import label_type as type_of_labels
from cluster.prepare.duplicates import EMPTY, MOST_HASHES, Sample
from cluster.prepare.faults import Faults
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

# Called with the fraction of the file that is done, 0 to 1.
Tell = Callable[[float], None]


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One file, and what earlier passes have found out about it.

    `start` is the number of rows, including skipped ones, in the files before it; `splits` has the split of each of its
    kept rows if groups decide the splits.
    """

    source: Source
    start: int = 0
    splits: Splits | None = None


@dataclass(frozen=True, kw_only=True)
class ReadingRules:
    """How every file is read and split: the arguments of `cluster.prepare.prepare`.

    `parts` are what is counted of texts, words or characters; None where a tokenizer is ready.
    """

    columns: Columns
    skip_empty: bool
    skip_unlabelled: bool
    split_seed: int
    batch_rows: int
    max_tokens: int
    parts: str | None

    @property
    def skipped(self) -> tuple[str, ...]:
        """The faults of rows that are left out; others are refused."""
        empty = (faults.EMPTY_TEXT,) if self.skip_empty else ()
        return (*empty, faults.UNLABELLED) if self.skip_unlabelled else empty


@dataclass(frozen=True, kw_only=True)
class Counted:
    """The counts of a file: rows kept, kept rows per split, labels per split, and words for training.

    `faults` are the rows that are not kept. It may still be open which held-out rows are for which split (`held_out`).
    `inputs` is None if there are no rows, and `keys` has the hashes by which duplicates are found.
    """

    kept: int
    faults: Faults
    sizes: tuple[int, ...]
    labels: Counts
    words: Words
    inputs: Inputs | None
    keys: Sample


def label_type(piece: Piece, tell: Tell, *, columns: Columns) -> Iterator[FirstLook]:
    """The type of a CSV file's labels, and its form (one value)."""
    yield type_of_labels(piece.source, columns)


def quotes_checked(piece: Piece, tell: Tell, *, text: str) -> Iterator[FirstLook]:
    """Check that no quote of a CSV file without labels has swallowed rows; yields the file's form."""
    yield refuse_swallowed(piece.source, text)


def group_hashes(piece: Piece, tell: Tell, *, reading: ReadingRules) -> Iterator[tuple[Hashes, Hashes]]:
    """The hashes of the rows' texts (or numbers) and of their groups (one value)."""
    texts, groups = [np.zeros(0, dtype=np.uint64)], [np.zeros(0, dtype=np.uint64)]
    for rows in _rows(piece, tell, reading):
        texts.append(hashes(rows.keys, split_seed=reading.split_seed))
        groups.append(hashes(rows.groups or [], split_seed=reading.split_seed))
    yield np.concatenate(texts), np.concatenate(groups)


def count(piece: Piece, tell: Tell, *, reading: ReadingRules, task: str | None) -> Iterator[Counted]:
    """The counts of a file, its labels and the words for training (one value)."""
    labels: Counts = {}
    words: Words = {}
    sizes = np.zeros(len(SPLITS), dtype=np.int64)
    wrong: Faults = {}
    inputs: Inputs | None = None
    keys, pending = EMPTY, list[Hashes]()

    def train_texts() -> Iterator[str]:
        nonlocal inputs, keys, pending
        for rows in _rows(piece, tell, reading):
            hashed = hashes(rows.keys, split_seed=reading.split_seed)
            splits = by_hash(hashed) if piece.splits is None else _given(rows, piece.splits, piece)
            labels_module.count(labels, rows, splits, column=reading.columns.label, task=task)
            sizes[:] += np.bincount(splits, minlength=len(SPLITS))
            faults.merge(wrong, rows.faults)
            # Joined now and then: after each batch, all hashes so far would be copied.
            pending.append(hashed)
            if sum(map(len, pending)) > MOST_HASHES:
                keys, pending = keys.joined(*map(Sample, pending)), []
            inputs = rows.features.inputs if rows.features else TEXT
            yield from (text for text, split in zip(rows.texts, splits.tolist(), strict=False) if split == 0)

    if reading.parts is None:
        collections.deque(train_texts(), maxlen=0)
    else:
        count_words(train_texts(), words, parts=reading.parts)
    yield Counted(
        kept=int(sizes.sum()),
        faults=wrong,
        sizes=tuple(sizes.tolist()),
        labels=labels,
        words=words,
        inputs=inputs,
        keys=keys.joined(*map(Sample, pending)),
    )


def tokens(
    piece: Piece, tell: Tell, *, reading: ReadingRules, labels: Labels, tokenizer: Tokenizer, dtype: str
) -> Iterator[Given]:
    """The rows as they are written to shards, with the split of each.

    Two more columns are for the counts: whether a row was `truncated`, and, if a text has unknown tokens, the hash of
    its `sequence`.
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
    for rows in checked(batches, reading.columns, max_tokens=reading.max_tokens):
        yield rows
        done += rows.source.share
        tell(min(1.0, done))


def _splits(rows: CheckedRows, piece: Piece, reading: ReadingRules) -> Splits:
    if piece.splits is None:
        return by_hash(hashes(rows.keys, split_seed=reading.split_seed))
    return _given(rows, piece.splits, piece)


def _given(rows: CheckedRows, known: Splits, piece: Piece) -> Splits:
    """Those of the splits `known` of all rows of the file that are of these rows."""
    splits = known[rows.first : rows.first + len(rows.keys)]
    if len(splits) != len(rows.keys):
        raise InputError(f"source {piece.source.name} changed while it was being read: leave it alone and run again")
    return splits
