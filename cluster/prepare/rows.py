"""Rows that can be used: numbered, without missing values or empty texts."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cluster.prepare import features as features_module
from cluster.prepare.batches import LONGEST_LABEL, LONGEST_TEXT, Batch, Columns
from cluster.prepare.features import Features
from cluster.prepare.keys import words_key
from trainer.data.inputs import Inputs
from trainer.errors import InputError, brief


@dataclass(frozen=True, kw_only=True)
class CheckedRows:
    """Checked rows of one batch.

    `rows` are their numbers in their file, `first` counts the file's kept rows before them, and `keys` are the words
    (or numbers) by which rows are duplicates. `kept` are the indices in `source` of the rows that were kept. `texts` is
    empty if there are `features`; `labels` is None if there are no labels.
    """

    rows: npt.NDArray[np.int64]
    first: int
    texts: list[str]
    keys: list[str]
    labels: pa.Array
    groups: list[str] | None
    skipped: int
    source: Batch
    kept: list[int]
    features: Features | None = None

    def where(self, index: int) -> str:
        """The place of one row, in words for an error."""
        return self.source.where(self.kept[index])


def checked(batches: Iterable[Batch], columns: Columns, *, skip_empty: bool, max_tokens: int) -> Iterator[CheckedRows]:
    """The rows of a file's `batches` that can be used; the model will see `max_tokens` tokens of each.

    Raises:
        InputError: a text, label or group is missing, or a text is empty and `skip_empty` is not set.
    """
    start = first = 0
    known: Inputs | None = None
    for batch in batches:
        if columns.features is not None:
            rows = _with_features(batch, columns, columns.features, start=start, known=known, max_tokens=max_tokens)
            known = rows.features.inputs if rows.features else None
        else:
            _check_lengths(batch, columns)
            keys = ["" if text is None else words_key(text, max_tokens=max_tokens) for text in batch.texts]
            rows = _checked(batch, columns, keys, start=start, first=first, skip_empty=skip_empty)
        start += len(batch.places)
        first += len(rows.keys)
        yield rows


def _with_features(
    batch: Batch, columns: Columns, column: str, *, start: int, known: Inputs | None, max_tokens: int
) -> CheckedRows:
    features = features_module.checked(batch, column, known)
    kept = list(range(len(batch.places)))
    _check_labels(batch, columns, kept, batch.labels)
    return CheckedRows(
        rows=np.arange(start, start + len(kept), dtype=np.int64),
        first=start,
        texts=[],
        keys=features.keys(max_tokens=max_tokens),
        labels=batch.labels,
        groups=_groups(batch, columns, kept),
        skipped=0,
        source=batch,
        kept=kept,
        features=features,
    )


def _checked(
    batch: Batch, columns: Columns, keys: list[str], *, start: int, first: int, skip_empty: bool
) -> CheckedRows:
    kept = [index for index, key in enumerate(keys) if key]
    if len(kept) < len(keys):
        _check_empty(batch, columns, keys, skip_empty=skip_empty)
    labels = batch.labels
    if labels is not None and len(kept) < len(keys):
        labels = labels.take(pa.array(kept, pa.int64()))
    _check_labels(batch, columns, kept, labels)
    return CheckedRows(
        rows=np.asarray(kept, dtype=np.int64) + start,
        first=first,
        texts=[text for text, key in zip(batch.texts, keys, strict=True) if text is not None and key],
        keys=[key for key in keys if key],
        labels=labels,
        groups=_groups(batch, columns, kept),
        skipped=len(keys) - len(kept),
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


def _check_empty(batch: Batch, columns: Columns, keys: list[str], *, skip_empty: bool) -> None:
    for index, (text, key) in enumerate(zip(batch.texts, keys, strict=True)):
        if text is None:
            raise InputError(
                f"{batch.where(index)}: text {columns.text!r} is missing (null): fill it in or drop the row"
            )
        if not key and not skip_empty:
            raise InputError(f"{batch.where(index)}: text {columns.text!r} is empty: correct it, or pass --skip-empty")


def _check_labels(batch: Batch, columns: Columns, kept: list[int], labels: pa.Array) -> None:
    if labels is None:
        return
    # Many tools write an empty string for "no label"; as a class of its own, that would go unnoticed.
    if not labels.null_count and not pa.types.is_string(labels.type):
        return
    for index, label in zip(kept, labels.to_pylist(), strict=True):
        if _is_missing(label):
            raise InputError(f"{batch.where(index)}: label {columns.label!r} is missing: fill it in or drop the row")
        if isinstance(label, str) and len(label) > LONGEST_LABEL:
            raise InputError(
                f"{batch.where(index)}: label {columns.label!r} has {len(label):,} characters ({brief(label, 40)}), "
                f"more than {LONGEST_LABEL:,}: give it a shorter name, or name another --label column"
            )


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
