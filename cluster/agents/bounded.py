"""An answer within bounds: as many rows as an agent can read, what is left out, and texts that are cut visibly."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from cluster.text.formats import json_value
from trainer.errors import InputError

ROWS, MOST_ROWS = 50, 500
# About 15,000 tokens; a text in a row about 500.
CHARACTERS, TEXT_CHARACTERS = 60_000, 2_000
ITEMS = 100


def page(table: pa.Table, offset: int, limit: int) -> tuple[list[dict[str, Any]], int | None]:
    """The rows from `offset` on, at most `limit` and as many as fit, and where the next ones begin (None: at the end).

    Raises:
        InputError: the place or the number of rows is impossible, or not even one row fits.
    """
    if offset < 0 or not 1 <= limit <= MOST_ROWS:
        raise InputError(f"offset {offset}, limit {limit}: give an offset from 0 on, and a limit from 1 to {MOST_ROWS}")
    rows: list[dict[str, Any]] = []
    left = CHARACTERS
    for at in range(offset, min(offset + limit, table.num_rows)):
        # One row after the other, because a single cell may hold megabytes.
        [row] = table.slice(at, 1).to_pylist()
        short = {cut(name): cut_values(json_value(value)) for name, value in row.items()}
        left -= len(json.dumps(short, ensure_ascii=False, default=str))
        if left < 0 and not rows:
            raise InputError(f"one row takes more than {CHARACTERS:,} characters: name fewer columns")
        if left < 0:
            return rows, at
        rows.append(short)
    end = offset + len(rows)
    return rows, end if end < table.num_rows else None


def cut(text: str) -> str:
    """The text, cut where it is longer than an agent needs, with its whole length."""
    if len(text) <= TEXT_CHARACTERS:
        return text
    return f"{text[:TEXT_CHARACTERS]}... ({len(text):,} characters)"


def cut_values(value: Any) -> Any:
    """A value of a JSON document with every text and list in it cut."""
    if isinstance(value, str):
        return cut(value)
    if isinstance(value, Mapping):
        return {cut(str(key)): cut_values(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        shown = [cut_values(item) for item in value[:ITEMS]]
        return [*shown, f"... ({len(value):,} items)"] if len(value) > ITEMS else shown
    return value


def first_items(**lists: Sequence[Any]) -> tuple[dict[str, list[Any]], dict[str, int]]:
    """The first items of each list, and how many are left out of those that are longer."""
    left_out = {name: len(items) - ITEMS for name, items in lists.items() if len(items) > ITEMS}
    return {name: [cut_values(item) for item in items[:ITEMS]] for name, items in lists.items()}, left_out
