"""The first pass over the sources: the labels of all rows, the words of the train split, and the number of rows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from tokenizers import Tokenizer

from cluster.prepare import faults
from cluster.prepare import piece as piece_module
from cluster.prepare import vocabulary as words_module
from cluster.prepare.duplicates import EMPTY
from cluster.prepare.faults import Faults
from cluster.prepare.labels import Counts, Labels, decide, merge
from cluster.prepare.piece import Piece, ReadingRules
from cluster.prepare.tokenizing import Tokenizing
from cluster.prepare.work import Work
from trainer.data.inputs import TEXT, Inputs
from trainer.data.manifest import SPLITS
from trainer.errors import InputError


@dataclass(frozen=True, kw_only=True)
class FirstPass:
    """The results of the first pass, and the pieces as the second pass needs them."""

    pieces: tuple[Piece, ...]
    labels: Labels
    inputs: Inputs
    tokenizer: Tokenizer
    kept: int
    faults: Faults
    duplicates: int

    @property
    def skipped(self) -> int:
        """The rows that were left out."""
        return faults.total(self.faults)


def count(
    work: Work, pieces: Sequence[Piece], reading: ReadingRules, *, tokenizing: Tokenizing, task: str | None
) -> FirstPass:
    """The first pass: count the labels of all rows and, where no tokenizer is ready, the words of the train split."""
    label = reading.columns.label
    counts: Counts = {}
    words: words_module.Words = {}
    sizes, starts = np.zeros(len(SPLITS), dtype=np.int64), [0]
    wrong: Faults = {}
    keys = EMPTY
    inputs: Inputs | None = None
    for counted in work.each("counting words", partial(piece_module.count, reading=reading, task=task), pieces):
        merge(counts, counted.labels, column=label)
        words_module.merge(words, counted.words)
        sizes += counted.sizes
        faults.merge(wrong, counted.faults)
        keys = keys.joined(counted.keys)
        inputs = _same(inputs, counted.inputs, pieces[len(starts) - 1])
        starts.append(starts[-1] + counted.kept + faults.total(counted.faults))
    kept = int(sizes.sum())
    faults.refuse(wrong, reading.columns, rows=starts[-1], skipped=reading.skipped)
    if not kept:
        what = "with text: name files that hold articles" if reading.columns.text else ": name files that hold some"
        raise InputError(f"the sources have no rows {what}")
    # It may still be open which held-out rows are for which split (`held_out`), but two splits need two rows.
    held = kept - int(sizes[0])
    check_sizes([int(sizes[0]), held, held - 1], kept, reading)
    return FirstPass(
        pieces=tuple(replace(piece, start=start) for piece, start in zip(pieces, starts, strict=False)),
        labels=decide(counts, column=label, task=task),
        inputs=inputs or TEXT,
        tokenizer=tokenizing.ready
        or words_module.build(words, size=tokenizing.vocabulary, parts=tokenizing.parts or words_module.WORDS),
        kept=kept,
        faults=wrong,
        duplicates=keys.duplicates(),
    )


def _same(before: Inputs | None, here: Inputs | None, piece: Piece) -> Inputs | None:
    """The model's inputs, which must be the same in all files."""
    if before is not None and here not in (None, before):
        assert here is not None
        raise InputError(
            f"{piece.source.name} has {here.kind} of {here.width} numbers, but the files before it have {before.kind} "
            f"of {before.width}: make all rows alike, or prepare the files separately"
        )
    return before or here


def check_sizes(sizes: Sequence[int], rows: int, reading: ReadingRules) -> None:
    """Refuse an empty split; `rows` is the total, for the error."""
    for name, size in zip(SPLITS, sizes, strict=True):
        if size <= 0:
            grouped = reading.columns.group is not None
            reason = "their groups are too few or too large" if grouped else "they are too few or all alike"
            raise InputError(
                f"the {name} split is empty ({rows} rows in all; {reason}): add rows, or try another --split-seed"
            )
