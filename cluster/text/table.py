"""A table as text for a person: aligned columns with heads of two lines, as many as fit."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import pyarrow as pa

from cluster.text.formats import nested_text
from cluster.text.plain import plain
from cluster.text.wrapped import wrapped


@dataclass(frozen=True)
class Column:
    """A column of the text table. `head` has two lines: a name, and its unit or the rest of the name.

    With `decimals` None, a value is written as short as it is. A `rare` column is shown only if it has a value other
    than 0, a column with a `usual` value only if it has another one, a column that `tells_apart` only if its rows
    differ in it, and a column that was `asked` for always.
    """

    name: str
    head: tuple[str, str]
    decimals: int | None = None
    rare: bool = False
    usual: str | None = None
    tells_apart: bool = False
    asked: bool = False

    def is_shown(self, values: Sequence[Any]) -> bool:
        """Whether these values are worth a column; a table without rows has all of them."""
        if self.asked or not values:
            return True
        if self.tells_apart:
            return len(set(values)) > 1
        return any(values) if self.rare else any(value not in (None, self.usual) for value in values)


def asked_for(names: Iterable[str], columns: Sequence[Column]) -> list[Column]:
    """The columns of these names: those in `columns`, or new ones with the name as head; all of them are shown."""
    known = {column.name: column for column in columns}
    return [replace(known.get(name, Column(name, ("", name))), asked=True) for name in names]


def to_text(table: pa.Table, columns: Sequence[Column], *, width: int | None = None) -> str:
    """The columns that have values, aligned; with `width`, as many of them as fit.

    If not all fit, words that are the same in all rows are said below the table, and make room for others.
    """
    shown = [_text_of(column, table[column.name]) for column in columns if _is_shown(column, table)]
    alike: list[_Shown] = []
    if width is not None and len(_fitting(shown, width)) < len(shown):
        alike = [one for one in shown if one.is_alike]
        shown = [one for one in shown if not one.is_alike]
    kept = shown if width is None else _fitting(shown, width)
    lines = ["  ".join(cells).rstrip() for cells in zip(*(one.cells for one in kept), strict=True)]
    if alike:
        said = f"the same in all rows: {', '.join(f'{one.name} {one.cells[-1].strip()}' for one in alike)}"
        lines += wrapped(said, width or len(said)).split("\n")
    if left_out := len(shown) - len(kept):
        more = "column" if left_out == 1 else "columns"
        lines.append(f"({left_out} more {more} in a wider terminal, or with --format csv)")
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class _Shown:
    """A column as text: two cells of its head and one for each row, all as wide as the widest."""

    name: str
    cells: list[str]
    is_alike: bool


def _is_shown(column: Column, table: pa.Table) -> bool:
    return column.name in table.column_names and column.is_shown(table[column.name].to_pylist())


def _text_of(column: Column, values: pa.ChunkedArray) -> _Shown:
    found = values.to_pylist()
    cells = [*map(plain, column.head), *(cell_text(value, column.decimals) for value in found)]
    size = max(map(len, cells))
    words = pa.types.is_string(values.type)
    aligned = [cell.ljust(size) if words else cell.rjust(size) for cell in cells]
    alike = words and not column.asked and len(found) > 1 and len(set(found)) == 1
    return _Shown(" ".join(map(plain, column.head)).strip(), aligned, alike)


def _fitting(shown: Sequence[_Shown], width: int) -> Sequence[_Shown]:
    """The first columns that fit, at least one."""
    ends = itertools.accumulate(len(one.cells[0]) + 2 for one in shown)
    return shown[: max(1, sum(end - 2 <= width for end in ends))]


def cell_text(value: Any, decimals: int | None) -> str:
    """A value as the text of a cell."""
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M")
    if isinstance(value, float):
        return f"{value:.{decimals}f}" if decimals is not None else f"{value:.6g}"
    return plain(nested_text(value) if isinstance(value, list | dict) else str(value))
