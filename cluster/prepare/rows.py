"""Rows that can be used: numbered, without missing values or empty texts; the others are counted."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cluster.prepare import faults
from cluster.prepare import features as features_module
from cluster.prepare.batches import LONGEST_LABEL, LONGEST_TEXT, Batch, Columns
from cluster.prepare.faults import Faults
from cluster.prepare.features import Features
from cluster.prepare.keys import words_key
from trainer.data.inputs import Inputs
from trainer.errors import InputError, brief


@dataclass(frozen=True, kw_only=True)
class CheckedRows:
    """Checked rows of one batch.

    `rows` are their numbers in their file, `first` counts the file's kept rows before them, and `keys` are the words
    (or numbers) by which rows are duplicates. `kept` are the indices in `source` of the rows that were kept, and
    `faults` counts the others. `texts` is empty if there are `features`; `labels` is None if there are no labels.
    """

    rows: npt.NDArray[np.int64]
    first: int
    texts: list[str]
    keys: list[str]
    labels: pa.Array
    groups: list[str] | None
    faults: Faults
    source: Batch
    kept: list[int]
    features: Features | None = None

    def where(self, index: int) -> str:
        """The place of one row, in words for an error."""
        return self.source.where(self.kept[index])


def checked(batches: Iterable[Batch], columns: Columns, *, max_tokens: int) -> Iterator[CheckedRows]:
    """The rows of a file's `batches` that can be used; the model will see `max_tokens` tokens of each.

    Rows whose text or label is missing, or whose text is empty, are counted as `faults` and left out. Whether that is
    allowed is decided when all are counted (`cluster.prepare.first_pass`).

    Raises:
        InputError: a group is missing, or a text, label or number cannot be used.
    """
    start = first = 0
    known: Inputs | None = None
    for batch in batches:
        if columns.features is not None:
            rows = _with_features(
                batch, columns, columns.features, start=start, first=first, known=known, max_tokens=max_tokens
            )
            known = rows.features.inputs if rows.features else None
        else:
            _check_lengths(batch, columns)
            keys = ["" if text is None else words_key(text, max_tokens=max_tokens) for text in batch.texts]
            rows = _checked(batch, columns, keys, start=start, first=first)
        start += len(batch.places)
        first += len(rows.keys)
        yield rows


def _with_features(
    batch: Batch, columns: Columns, column: str, *, start: int, first: int, known: Inputs | None, max_tokens: int
) -> CheckedRows:
    features = features_module.checked(batch, column, known)
    every = list(range(len(batch.places)))
    kept, found = _labelled(batch, columns, every)
    if len(kept) < len(every):
        features = replace(features, lists=features.lists.take(pa.array(kept, pa.int64())))
    return CheckedRows(
        rows=np.asarray(kept, dtype=np.int64) + start,
        first=first,
        texts=[],
        keys=features.keys(max_tokens=max_tokens),
        labels=_of(batch.labels, kept),
        groups=_groups(batch, columns, kept),
        faults=found,
        source=batch,
        kept=kept,
        features=features,
    )


def _checked(batch: Batch, columns: Columns, keys: list[str], *, start: int, first: int) -> CheckedRows:
    kept, found = _labelled(batch, columns, [index for index, key in enumerate(keys) if key])
    for index, key in enumerate(keys):
        if not key:
            kind = faults.MISSING_TEXT if batch.texts[index] is None else faults.EMPTY_TEXT
            faults.add(found, kind, partial(batch.where, index))
    return CheckedRows(
        rows=np.asarray(kept, dtype=np.int64) + start,
        first=first,
        texts=[text for index in kept if (text := batch.texts[index]) is not None],
        keys=[keys[index] for index in kept],
        labels=_of(batch.labels, kept),
        groups=_groups(batch, columns, kept),
        faults=found,
        source=batch,
        kept=kept,
    )


def _check_lengths(batch: Batch, columns: Columns) -> None:
    for index, text in enumerate(batch.texts):
        if text is not None and len(text) > LONGEST_TEXT:
            raise InputError(
                f"{batch.where(index)}: text {columns.text!r} has {len(text):,} characters, more than "
                f"{LONGEST_TEXT:,}: cut it, or make several rows of it"
            )


def _labelled(batch: Batch, columns: Columns, rows: list[int]) -> tuple[list[int], Faults]:
    """Those of the rows that have a label, and the others as faults."""
    found: Faults = {}
    labels = batch.labels
    # Many tools write an empty string for "no label"; as a class of its own, that would go unnoticed.
    if labels is None or (not labels.null_count and not pa.types.is_string(labels.type)):
        return rows, found
    values, kept = labels.to_pylist(), []
    for index in rows:
        label = values[index]
        if _is_missing(label):
            faults.add(found, faults.UNLABELLED, partial(batch.where, index))
            continue
        if isinstance(label, str) and len(label) > LONGEST_LABEL:
            raise InputError(
                f"{batch.where(index)}: label {columns.label!r} has {len(label):,} characters ({brief(label, 40)}), "
                f"more than {LONGEST_LABEL:,}: give it a shorter name, or name another --label column"
            )
        kept.append(index)
    return kept, found


def _of(labels: pa.Array, kept: list[int]) -> pa.Array:
    """The labels of the rows that were kept; None if there are none."""
    return labels if labels is None or len(labels) == len(kept) else labels.take(pa.array(kept, pa.int64()))


def _groups(batch: Batch, columns: Columns, kept: list[int]) -> list[str] | None:
    if batch.groups is None:
        return None
    for index in kept:
        if _is_missing(batch.groups[index]):
            raise InputError(
                f"{batch.where(index)}: group {columns.group!r} is missing: fill it in (any unique value stands "
                "for a group of its own) or drop the row"
            )
    return [_group_name(batch.groups[index]) for index in kept]


def _is_missing(value: object) -> bool:
    """Whether a value is null, a blank text, or NaN (which differs from itself); as a group, these would be shared."""
    return value is None or value != value or (isinstance(value, str) and not value.strip())


def _group_name(value: object) -> str:
    """The same name for equal numbers: whole numbers in one file may be floats or decimals in another."""
    if isinstance(value, float | Decimal) and math.isfinite(value) and value == int(value):
        return str(int(value))
    return str(value)
