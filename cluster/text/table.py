"""A table as text for a person: aligned columns with heads of two lines, as many as fit."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import pyarrow as pa

from cluster.text.formats import nested_text
from cluster.text.plain import plain


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
    """The columns that have values, aligned; with `width`, as many of them as fit."""
    shown: list[list[str]] = []
    used = left_out = 0
    for column in columns:
        if column.name not in table.column_names:
            continue
        values = table[column.name].to_pylist()
        if not column.is_shown(values):
            continue
        cells = [*map(plain, column.head), *(cell_text(value, column.decimals) for value in values)]
        size = max(map(len, cells))
        if width is not None and shown and (left_out or used + 2 + size > width):
            left_out += 1
            continue
        number = not pa.types.is_string(table.schema.field(column.name).type)
        shown.append([cell.rjust(size) if number else cell.ljust(size) for cell in cells])
        used += size + (2 if len(shown) > 1 else 0)
    lines = ["  ".join(cells).rstrip() for cells in zip(*shown, strict=True)]
    if left_out:
        lines.append(f"({left_out} more columns in a wider terminal, or with --format csv)")
    return "\n".join(lines) + "\n"


def cell_text(value: Any, decimals: int | None) -> str:
    """A value as the text of a cell."""
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M")
    if isinstance(value, float):
        return f"{value:.{decimals}f}" if decimals is not None else f"{value:.6g}"
    return plain(nested_text(value) if isinstance(value, list | dict) else str(value))
