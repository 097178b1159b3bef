"""Rows that cannot be used, counted by what is wrong with them over all files: refused together, or left out."""

from collections.abc import Callable, Collection, Mapping

from cluster.prepare.batches import Columns
from trainer.errors import InputError

MISSING_TEXT, EMPTY_TEXT, UNLABELLED = "missing text", "empty text", "without label"
# How many rows an error names.
NAMED = 3

# What is wrong -> how many rows, and the places of the first.
Faults = dict[str, tuple[int, tuple[str, ...]]]


def add(faults: Faults, kind: str, place: Callable[[], str]) -> None:
    """Count one row; its place is asked for only if it is among the first."""
    count, places = faults.get(kind, (0, ()))
    faults[kind] = (count + 1, places if len(places) >= NAMED else (*places, place()))


def merge(faults: Faults, more: Mapping[str, tuple[int, tuple[str, ...]]]) -> None:
    """Add the counts of later rows to `faults`."""
    for kind, (count, places) in more.items():
        before, named = faults.get(kind, (0, ()))
        faults[kind] = (before + count, (*named, *places)[:NAMED])


def total(faults: Faults) -> int:
    """How many rows have a fault; each has one."""
    return sum(count for count, _ in faults.values())


def refuse(faults: Faults, columns: Columns, *, rows: int, skipped: Collection[str]) -> None:
    """Refuse rows with faults, unless they may be `skipped`; `rows` is how many there are in all.

    Raises:
        InputError: one line for each fault that may not be skipped, with its count, first places and remedy.
    """
    lines = [_line(kind, faults[kind], columns, rows) for kind in _REMEDIES if kind in faults and kind not in skipped]
    if lines:
        raise InputError("\n".join(lines))


_REMEDIES = {
    MISSING_TEXT: "is missing (null){}: fill it in or drop {}",
    EMPTY_TEXT: "is empty{}: correct {}, or pass --skip-empty",
    UNLABELLED: "is missing{}: fill it in, drop {}, or pass --skip-unlabelled",
}


def _line(kind: str, fault: tuple[int, tuple[str, ...]], columns: Columns, rows: int) -> str:
    count, places = fault
    what = f"label {columns.label!r}" if kind == UNLABELLED else f"text {columns.text!r}"
    if count == 1:
        return f"{places[0]}: {what} {_REMEDIES[kind].format('', 'the row' if kind != EMPTY_TEXT else 'it')}"
    more = ", ..." if count > len(places) else ""
    rest = _REMEDIES[kind].format(f" in {count:,} of {rows:,} rows", "those rows" if kind != EMPTY_TEXT else "them")
    return f"{what} {rest} ({'; '.join(places)}{more})"
