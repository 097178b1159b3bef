"""Numbers instead of text: for each row a list of numbers (a vector) or a list of such lists (a sequence), as float32.

All vectors of a data set have the same width. The number with which the trainer pads sequences is refused as data, and
so is any number that is not finite as a float32.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from cluster.prepare.batches import Batch
from trainer.data.inputs import PADDING_NUMBER, SEQUENCES, VECTORS, Inputs
from trainer.errors import InputError, brief

_KINDS = {1: VECTORS, 2: SEQUENCES}
_NUMBERS = "a list of numbers, or a list of such lists"
_LONGEST_QUOTED = 60


@dataclass(frozen=True)
class Features:
    """The lists of some rows, list<float32>, or list<list<float32>> for sequences, and what kind of input they are."""

    lists: pa.Array
    inputs: Inputs

    def keys(self, *, max_tokens: int) -> list[str]:
        """The keys by which rows are duplicates: the numbers as the model sees them, to the last bit (-0 equals 0)."""
        lists, _ = truncated(self, max_tokens)
        flat, ends = _flat(lists) + np.float32(0), lists.offsets.to_numpy() - lists.offsets[0].as_py()
        bounds = (ends * (self.inputs.width if self.inputs.kind == SEQUENCES else 1)).tolist()
        return [flat[start:stop].astype("<f4").tobytes().hex() for start, stop in pairwise(bounds)]


def column_of(batch: Batch, values: Sequence[object], column: str) -> pa.Array:
    """The column of rows that came as Python lists.

    Raises:
        InputError: they are not lists of numbers with the same depth.
    """
    try:
        column_array = pa.array(values)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError):
        column_array = None
    if column_array is not None and (types.is_null(column_array.type) or depth(column_array.type)):
        return column_array
    depths = [_depth_of(value) for value in values]
    usual = next((level for level in depths if level), 1)
    index = next((index for index, level in enumerate(depths) if level not in (usual, None)), 0)
    raise InputError(
        f"{batch.where(index)}: features {column!r} is {_quoted(values[index])}: it must be {_NUMBERS}, the same for "
        "all rows; correct it, or name another --features column"
    )


def depth(kind: pa.DataType) -> int:
    """1 for a list of numbers, 2 for a list of such lists, 0 for anything else."""
    lists = 0
    while types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        kind, lists = kind.value_type, lists + 1
    number = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)
    return lists if lists in _KINDS and (number or types.is_null(kind)) else 0


def checked(batch: Batch, column: str, known: Inputs | None) -> Features:
    """The features of a batch; `known` is the kind and width of the rows before it.

    Raises:
        InputError: a list is missing or empty, a number is missing or not finite, or a vector has another width.
    """
    assert batch.features is not None
    values = batch.features
    if values.null_count:
        _refuse(batch, column, pc.is_null(values), "is missing (null): fill it in or drop the row")
    kind = known.kind if known else _KINDS[depth(values.type)]
    if depth(values.type) != (1 if kind == VECTORS else 2):
        raise InputError(
            f"{batch.where(0)}: features {column!r} is {_quoted(values[0].as_py())}, but the rows before it are "
            f"{kind}: make all rows {_NUMBERS}"
        )
    _refuse_empty(batch, column, pc.equal(pc.list_value_length(values), 0))
    inner = pc.list_flatten(values)
    owners = pc.list_parent_indices(values)
    lengths = pc.fill_null(pc.list_value_length(inner if kind == SEQUENCES else values), 0)
    if kind == SEQUENCES:
        _refuse_empty(batch, column, _any_of(owners, pc.equal(lengths, 0), len(values)))
    width = known.width if known else int(lengths[0].as_py())
    if kind == SEQUENCES:
        _refuse_widths(batch, column, _any_of(owners, pc.not_equal(lengths, width), len(values)), width)
        owners = pc.take(owners, pc.list_parent_indices(inner))
    else:
        _refuse_widths(batch, column, pc.not_equal(lengths, width), width)
    wrong = ~(np.abs(_flat(values)) < -PADDING_NUMBER)
    _refuse(
        batch,
        column,
        _any_of(owners, pa.array(wrong), len(values)),
        "has a number that is missing or not finite as a float32: correct it or drop the row",
    )
    return Features(_narrow(values), Inputs(kind, width))


def truncated(features: Features, max_tokens: int) -> tuple[pa.Array, pa.Array]:
    """The lists as they are written to shards, and whether each was cut: sequences, after `max_tokens` vectors."""
    if features.inputs.kind == VECTORS:
        return features.lists, pa.array(np.zeros(len(features.lists), np.bool_))
    lengths = pc.list_value_length(features.lists)
    lists = pc.list_slice(features.lists, 0, max_tokens, return_fixed_size_list=False)
    return lists, pc.greater(lengths, max_tokens)


def _flat(values: pa.Array) -> npt.NDArray[np.float32]:
    """All numbers one after the other, float32; a missing number becomes NaN."""
    while depth(values.type):
        values = pc.list_flatten(values)
    with np.errstate(over="ignore"):
        wide = pc.cast(values, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        narrow: npt.NDArray[np.float32] = wide.astype(np.float32)
    return narrow


def _narrow(values: pa.Array) -> pa.Array:
    """The same lists as float32."""
    numbers = pa.array(_flat(values), pa.float32())
    for level in range(depth(values.type) - 1, -1, -1):
        lists = values
        for _ in range(level):
            lists = pc.list_flatten(lists)
        lengths = pc.list_value_length(lists).to_numpy()
        numbers = pa.ListArray.from_arrays(pa.array(np.cumsum([0, *lengths]), pa.int32()), numbers)
    return numbers


def _any_of(owners: pa.Array, wrong: pa.Array, rows: int) -> pa.Array:
    """For each row, whether anything that it owns is wrong."""
    wrong_rows = np.zeros(rows, np.bool_)
    wrong_rows[owners.to_numpy()[wrong.to_numpy(zero_copy_only=False)]] = True
    return pa.array(wrong_rows)


def _refuse_empty(batch: Batch, column: str, wrong: pa.Array) -> None:
    _refuse(batch, column, wrong, "has an empty list: fill it in or drop the row")


def _refuse_widths(batch: Batch, column: str, wrong: pa.Array, width: int) -> None:
    _refuse(
        batch,
        column,
        wrong,
        f"has a vector that does not have {width} numbers, as the first row's have: make all vectors the same width",
    )


def _refuse(batch: Batch, column: str, wrong: pa.Array, problem: str) -> None:
    rows = np.flatnonzero(wrong.to_numpy(zero_copy_only=False))
    if len(rows):
        index = int(rows[0])
        assert batch.features is not None
        shown = _quoted(batch.features[index].as_py())
        raise InputError(f"{batch.where(index)}: features {column!r} ({shown}) {problem}")


def _depth_of(value: object, most: int = len(_KINDS)) -> int | None:
    """Like `depth`, for a Python value; None if the value does not show it (null, or an empty list)."""
    if value is None or value == []:
        return None
    if not isinstance(value, list) or not most:
        return 0
    if all(isinstance(item, int | float) and not isinstance(item, bool) for item in value):
        return 1
    inner = {_depth_of(item, most - 1) for item in value} - {None}
    return 2 if inner <= {1} else 0


def _quoted(value: object) -> str:
    try:
        return brief(repr(value), _LONGEST_QUOTED)
    except RecursionError:
        return "lists in lists in lists"
