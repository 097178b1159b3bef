"""The rows and columns of a result that a person asked for: sorted, limited, chosen, or only those that differ."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from trainer.errors import InputError, nearest


@dataclass(frozen=True, kw_only=True)
class TableShape:
    """What to show of a table. `sort` are column names, with `-` for descending; empty `columns` means all of them."""

    columns: tuple[str, ...] = ()
    sort: tuple[str, ...] = ()
    limit: int | None = None
    diff: bool = False


def listed(text: str | None) -> tuple[str, ...]:
    """The names in `a, b`, each once."""
    return tuple(dict.fromkeys(name.strip() for name in (text or "").split(",") if name.strip()))


def shaped(found: pa.Table, shape: TableShape) -> pa.Table:
    """Sort, then limit the rows, then choose columns, then leave out columns that are equal in all remaining rows.

    Rows without a value in the sort column come last; rows with equal values keep their order. A single row keeps all
    its columns, since nothing differs.

    Raises:
        InputError: a column does not exist.
    """
    keys = [(name.removeprefix("-"), "descending" if name.startswith("-") else "ascending") for name in shape.sort]
    for name in (*shape.columns, *(name for name, _ in keys)):
        if name not in found.column_names:
            names = found.column_names
            raise InputError(f"there is no column {name!r}{nearest(name, names)}: use one of {', '.join(names)}")
    if keys:
        found = found.take(pc.sort_indices(found, sort_keys=keys))
    if shape.limit is not None:
        found = found.slice(0, shape.limit)
    if shape.columns:
        found = found.select(list(shape.columns))
    if shape.diff and found.num_rows > 1:
        found = found.select([name for name in found.column_names if len(pc.unique(found[name])) > 1])
    return found
