"""Columns of numbers, one number in each, that together are the vector of a row: `--features a,b,c` or `'x*'`."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cluster.prepare.batches import Columns
from trainer.errors import InputError, nearest


def with_wide(columns: Columns, option: str, columns_of_file: Callable[[], Sequence[str]]) -> Columns:
    """The columns with the vector's own, if the `option` lists several or has a pattern that those of a file match.

    A pattern leaves out the columns of the label and of the group.

    Raises:
        InputError: a column or pattern has no match, or the label is among those that are listed.
    """
    if not {",", "*", "?"} & set(option):
        return columns
    known = columns_of_file()
    if option in known:
        return columns
    others = [name for name in (columns.label, columns.group) if name is not None]
    names: list[str] = []
    for part in (part.strip() for part in option.split(",")):
        pattern = part not in known and {"*", "?"} & set(part)
        found = [name for name in known if name not in others and fnmatchcase(name, part)] if pattern else [part]
        if not found or (not pattern and part not in known):
            raise InputError(
                f"--features {option}: no column is called {part!r}{nearest(part, list(known))}: the columns are "
                f"{', '.join(known[:20])}{', ...' if len(known) > 20 else ''}"
            )
        names += found
    for name in others:
        if name in names:
            raise InputError(
                f"--features {option} has the column {name!r}, which is also a label or group: leave it out"
            )
    return replace(columns, wide=tuple(dict.fromkeys(names)))


def of_fields(where: str, fields: Sequence[object], names: Sequence[str]) -> list[float]:
    """The vector of a row of CSV or JSONL; a number that is missing is NaN.

    Raises:
        InputError: a field is not a number.
    """
    return [_number(where, field, name) for field, name in zip(fields, names, strict=True)]


def of_arrays(file: str, arrays: Sequence[pa.Array], names: Sequence[str]) -> pa.Array:
    """The vectors of the rows of Parquet, list<float64>; a number that is missing is NaN.

    Raises:
        InputError: a column does not hold numbers.
    """
    for array, name in zip(arrays, names, strict=True):
        kind = array.type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
            raise InputError(f"{file}: features {name!r} is {kind}, not a number: leave it out of --features")
    wide = [pc.cast(array, pa.float64(), safe=False).to_numpy(zero_copy_only=False) for array in arrays]
    rows = len(arrays[0])
    offsets = pa.array(np.arange(rows + 1) * len(arrays), pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.array(np.stack(wide, axis=1).reshape(-1), pa.float64()))


def _number(where: str, field: object, name: str) -> float:
    if field is None or (isinstance(field, str) and not field.strip()):
        return float("nan")
    # Python would also read 1_000 and digits of other scripts.
    written = not isinstance(field, str) or (field.isascii() and "_" not in field)
    if isinstance(field, int | float | str) and not isinstance(field, bool) and written:
        try:
            return float(field)
        except (ValueError, OverflowError):
            pass
    raise InputError(f"{where}: features {name!r} is {field!r}, not a number: correct it, or leave the column out")
