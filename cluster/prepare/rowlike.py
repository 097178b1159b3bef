"""Whether quotes have swallowed rows: most records of several lines hold lines that by themselves would be rows.

Texts of several lines hold no such lines, or few of many texts do. What a line would be is judged by columns besides
the text: by the label alone, or, where nothing is labelled, by all of the others whose fields are numbers or repeat.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from cluster.prepare.batches import LONGEST_LABEL
from cluster.prepare.fields import field_type, widest
from cluster.prepare.labels import MOST_LABELS

# The most records of several lines that are looked at, and the most columns.
MOST_RECORDS, MOST_COLUMNS = 10_000, 16

# What one line of a record would have in each column if it were a row; several fields, as a text may hold delimiters.
_Ends = tuple[frozenset[str], ...]


@dataclass
class ColumnTypes:
    """What the records have in one column: the types of the fields, and the first `most` different ones."""

    index: int
    most: int
    kinds: set[str] = field(default_factory=set)
    values: set[str] = field(default_factory=set)

    @property
    def kind(self) -> str:
        """The type of the column."""
        return widest(self.kinds)

    def add(self, value: str) -> None:
        """Add a record's field."""
        self.kinds.add(field_type(value))
        if len(self.values) <= self.most and len(value) <= LONGEST_LABEL:
            self.values.add(value)

    def fits(self, ends: frozenset[str]) -> bool:
        """Whether one of the fields is like those of the records."""
        return not ends.isdisjoint(self.values) or (
            self.kind != "string" and any(field_type(end) != "string" for end in ends)
        )


class Rowlike:
    """The records of a file with a header of `count` names, as they are read; `indices` are the columns that judge."""

    def __init__(self, count: int, indices: Sequence[int]) -> None:
        kept = indices[:MOST_COLUMNS]
        self.columns = [ColumnTypes(index, MOST_LABELS // len(kept)) for index in kept]
        self._count = count
        self._records = 0
        self._spanning: list[tuple[int, int, frozenset[_Ends]]] = []

    def add(self, line: int, values: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
        """Add the record that begins on `line`; `lines` are the fields of each of its lines but the last."""
        self._records += 1
        for column in self.columns:
            column.add(values[column.index])
        if lines and len(self._spanning) < MOST_RECORDS:
            ends = frozenset(self._ends(fields) for fields in lines if len(fields) >= self._count)
            self._spanning.append((line, line + len(lines), ends))

    def swallowed(self) -> tuple[int, int] | None:
        """The first and last line of the first record that holds rows, if most of those of several lines do."""
        judges = [place for place, column in enumerate(self.columns) if self._judges(column)]

        def is_row(ends: _Ends) -> bool:
            return all(self.columns[place].fits(ends[place]) for place in judges)

        found = [(first, last) for first, last, lines in self._spanning if judges and any(map(is_row, lines))]
        return found[0] if 2 * len(found) > len(self._spanning) else None

    def _ends(self, fields: Sequence[str]) -> _Ends:
        """A text with delimiters of its own has more fields than the header: columns are counted from either end."""
        return tuple(
            frozenset(
                text
                for text in (fields[column.index], fields[column.index - self._count])
                if 0 < len(text) <= LONGEST_LABEL
            )
            for column in self.columns
        )

    def _judges(self, column: ColumnTypes) -> bool:
        alone = len(self.columns) == 1
        return alone or column.kind != "string" or 2 * len(column.values) <= min(self._records, 2 * column.most)
