"""The labels: classes with names and ids, or numbers. They are counted per split before anything is written."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from cluster.prepare.rows import CheckedRows
from cluster.prepare.splits import Splits
from trainer.data.manifest import LANGUAGE_MODEL, SPLITS
from trainer.errors import InputError, brief

CLASSIFICATION, REGRESSION = "classification", "regression"
# More classes than this mean that the column is wrong (a title, a number), and would fill memory.
MOST_LABELS = 10_000

# Kinds of values that are numbers to predict unless the task is given.
_FRACTIONS = ("float", "decimal")

# kind of value (string, integer, boolean, float, decimal) -> value -> rows per split.
Counts = dict[str, dict[object, npt.NDArray[np.int64]]]


@dataclass(frozen=True, kw_only=True)
class Labels:
    """The decision about the labels: a task, the classes' names in the order of their ids, and each raw value's id."""

    task: str
    names: tuple[str, ...] = ()
    ids: Mapping[object, int]


def count(counts: Counts, rows: CheckedRows, splits: Splits, *, column: str | None, task: str | None) -> None:
    """Add a batch's labels to `counts`. Numbers to predict are checked, not counted.

    Raises:
        InputError: a number to predict is not finite, or there are too many classes.
    """
    if not rows.keys or column is None:
        return
    kind = _kind(rows.labels)
    if task == REGRESSION or (kind in _FRACTIONS and task is None):
        counts.setdefault(kind, {})
        _numbers(rows, column)
        return
    encoded = rows.labels.dictionary_encode()
    table = np.bincount(
        encoded.indices.to_numpy().astype(np.int64) * len(SPLITS) + splits,
        minlength=len(encoded.dictionary) * len(SPLITS),
    ).reshape(-1, len(SPLITS))
    for value, row in zip(_values(encoded.dictionary), table, strict=True):
        merge(counts, {kind: {value: row}}, column=column)


def merge(counts: Counts, more: Counts, *, column: str | None) -> None:
    """Add the counts of other rows to `counts`.

    Raises:
        InputError: there are too many classes.
    """
    for kind, values in more.items():
        seen = counts.setdefault(kind, {})
        for value, row in values.items():
            seen[value] = seen[value] + row if value in seen else row
        if len(seen) > MOST_LABELS:
            first, second = list(seen)[:2]
            raise InputError(
                f"label {column!r} has more than {MOST_LABELS:,} different values ({_shown(first)}, {_shown(second)}, "
                "...): name another --label column, or use --task regression if it is a number to predict"
            )


def decide(counts: Counts, *, column: str | None, task: str | None) -> Labels:
    """The task and the classes.

    Raises:
        InputError: the values have kinds that do not go together or do not fit `task`, or a class is missing from the
            train split.
    """
    if column is None:
        return Labels(task=LANGUAGE_MODEL, ids={})
    kinds = set(counts)
    if not kinds:
        raise InputError("the sources have no rows: name files that hold articles")
    predicted = task == REGRESSION or (task is None and not kinds.isdisjoint(_FRACTIONS))
    # As names of classes, 1 and 1.0 are different, so numbers of two types go together only if they are predicted.
    if len(kinds) > 1 and not (predicted and kinds <= {"integer", *_FRACTIONS}):
        raise InputError(f"label {column!r} is {' in one place and '.join(sorted(kinds))} in another: make it one type")
    return Labels(task=REGRESSION, ids={}) if predicted else _classes(counts, column)


def encode(labels: Labels, rows: CheckedRows, column: str) -> pa.Array:
    """A batch's labels as they are written to a shard: int32 ids or float32 numbers."""
    if labels.task == REGRESSION:
        return pa.array(_numbers(rows, column), type=pa.float32())
    encoded = rows.labels.dictionary_encode()
    values = _values(encoded.dictionary)
    if any(value not in labels.ids for value in values):
        raise InputError(f"{rows.source.file} changed while it was being read (a label is new): run again")
    ids = np.array([labels.ids[value] for value in values], dtype=np.int32)
    return pa.array(ids[encoded.indices.to_numpy()], type=pa.int32())


def _kind(labels: pa.Array) -> str:
    if types.is_decimal(labels.type):
        return "decimal" if labels.type.scale > 0 else "integer"
    if types.is_integer(labels.type):
        return "integer"
    if types.is_boolean(labels.type):
        return "boolean"
    return "float" if types.is_floating(labels.type) else "string"


def _values(distinct: pa.Array) -> list[object]:
    """The labels as they are distinguished and named: a narrow float has its own digits, not those of a wider one.

    Equal labels, such as 0.0 and -0.0, have the same name.
    """
    if types.is_floating(distinct.type):
        return [float(str(value)) + 0.0 for value in distinct.to_numpy(zero_copy_only=False)]
    if types.is_decimal(distinct.type) and distinct.type.scale <= 0:
        return [int(value.as_py()) for value in distinct]
    values: list[object] = distinct.to_pylist()
    return values


def _numbers(rows: CheckedRows, column: str) -> npt.NDArray[np.float32]:
    """The labels as finite float32 numbers."""
    try:
        wide = pc.cast(rows.labels, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    except pa.ArrowException:
        values = rows.labels.to_pylist()
        index = next(index for index in range(len(values)) if not _is_number(rows.labels.slice(index, 1)))
        raise InputError(
            f"{rows.where(index)}: label {column!r} is {_shown(values[index])}, not a number: correct it, name another "
            "--label column, or use --task classification"
        ) from None
    with np.errstate(over="ignore"):
        narrow: npt.NDArray[np.float32] = wide.astype(np.float32)
    if not np.isfinite(narrow).all():
        index = int(np.flatnonzero(~np.isfinite(narrow))[0])
        raise InputError(
            f"{rows.where(index)}: label {column!r} is {wide[index]}, not finite as a float32: correct it or drop "
            "the row"
        )
    return narrow


def _classes(counts: Counts, column: str) -> Labels:
    (merged,) = counts.values()
    values = sorted(merged)  # type: ignore[type-var]  # of one kind
    if _lacks_numbers(values):
        raise InputError(f"label {column!r} has a value that is not finite: drop those rows")
    if len(values) < 2:
        raise InputError(
            f"label {column!r} has only the value {_shown(_name(values[0]))}: there must be at least two classes"
        )
    _check_train(merged, values, column)
    return Labels(
        task=CLASSIFICATION,
        names=tuple(_name(value) for value in values),
        ids={value: index for index, value in enumerate(values)},
    )


def _check_train(merged: dict[object, npt.NDArray[np.int64]], values: list[object], column: str) -> None:
    unseen = [value for value in values if not merged[value][0]]
    if unseen:
        more = f" (and {len(unseen) - 1} more labels)" if len(unseen) > 1 else ""
        raise InputError(
            f"label {column!r} {_shown(_name(unseen[0]))} has {int(merged[unseen[0]].sum())} rows, none of them in the "
            f"train split{more}: drop those rows, merge labels, or try another --split-seed"
        )


def _lacks_numbers(values: Iterable[object]) -> bool:
    """Whether numbers, even written as text, include one that is not finite: "nan" stands for a missing label."""
    try:
        numbers = [float(str(value)) for value in values]
    except ValueError:
        return False
    return not all(map(math.isfinite, numbers))


def _name(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _shown(value: object) -> str:
    return brief(repr(value))


def _is_number(label: pa.Array) -> bool:
    try:
        pc.cast(label, pa.float64(), safe=False)
    except pa.ArrowException:
        return False
    return True
