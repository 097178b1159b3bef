"""The rows and columns of a result that a person asked for: sorted, cut off, chosen, or only those that differ."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from trainer.errors import InputError, nearest


@dataclass(frozen=True, kw_only=True)
class TableShape:
    """What to show of a table. `sort` are column names, a descending one after a `-`; no `columns` are all of them."""

    columns: tuple[str, ...] = ()
    sort: tuple[str, ...] = ()
    limit: int | None = None
    diff: bool = False


def listed(text: str | None) -> tuple[str, ...]:
    """The names in `a, b`, each once."""
    return tuple(dict.fromkeys(name.strip() for name in (text or "").split(",") if name.strip()))


def shaped(found: pa.Table, shape: TableShape) -> pa.Table:
    """Sort, then cut off, then choose the columns, then leave out those that are the same in each row that is left.

    Rows without the value that is sorted by come last; rows that are equal in it keep their order. Of one row nothing
    is left out, since nothing differs.

    Raises:
        InputError: a column that does not exist.
    """
    keys = [(name.removeprefix("-"), "descending" if name.startswith("-") else "ascending") for name in shape.sort]
    for name in (*shape.columns, *(name for name, _ in keys)):
        if name not in found.column_names:
            names = found.column_names
            raise InputError(f"there is no column {name!r}{nearest(name, names)}: one of {', '.join(names)}")
    if keys:
        found = found.take(pc.sort_indices(found, sort_keys=keys))
    if shape.limit is not None:
        found = found.slice(0, shape.limit)
    if shape.columns:
        found = found.select(list(shape.columns))
    if shape.diff and found.num_rows > 1:
        found = found.select([name for name in found.column_names if len(pc.unique(found[name])) > 1])
    return found
