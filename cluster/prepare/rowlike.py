"""Whether quotes have swallowed rows: then most records of several lines contain lines that would be rows themselves.

Genuine texts of several lines rarely contain such lines. A line is judged by columns other than the text: by the label
alone, or, without labels, by all others whose fields are numbers or repeat.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from cluster.prepare.batches import LONGEST_LABEL
from cluster.prepare.fields import field_type, widest
from cluster.prepare.labels import MOST_LABELS

# The most records of several lines that are examined, and the most columns.
MOST_RECORDS, MOST_COLUMNS = 10_000, 16

# The fields that a line of a record could have in each column if it were a row; several, as a text may have delimiters.
_Ends = tuple[frozenset[str], ...]


@dataclass
class ColumnTypes:
    """The records' fields in one column: their types, and the first `most` different values."""

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
        """Whether one of these fields is like the fields of the records."""
        return not ends.isdisjoint(self.values) or (
            self.kind != "string" and any(field_type(end) != "string" for end in ends)
        )


class Rowlike:
    """Collects the records of a file with `count` names in its header; `indices` are the columns to judge by."""

    def __init__(self, count: int, indices: Sequence[int]) -> None:
        kept = indices[:MOST_COLUMNS]
        self.columns = [ColumnTypes(index, MOST_LABELS // len(kept)) for index in kept]
        self._count = count
        self._records = 0
        self._spanning: list[tuple[int, int, frozenset[_Ends]]] = []

    def add(self, line: int, values: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
        """Add the record that begins on `line`; `lines` has the fields of each of its lines except the last."""
        self._records += 1
        for column in self.columns:
            column.add(values[column.index])
        if lines and len(self._spanning) < MOST_RECORDS:
            ends = frozenset(self._ends(fields) for fields in lines if len(fields) >= self._count)
            self._spanning.append((line, line + len(lines), ends))

    def swallowed(self) -> tuple[int, int] | None:
        """The first and last line of the first record that contains rows, if most records of several lines do."""
        judges = [place for place, column in enumerate(self.columns) if self._judges(column)]

        def is_row(ends: _Ends) -> bool:
            return all(self.columns[place].fits(ends[place]) for place in judges)

        swallowing = [(first, last) for first, last, lines in self._spanning if judges and any(map(is_row, lines))]
        return swallowing[0] if 2 * len(swallowing) > len(self._spanning) else None

    def _ends(self, fields: Sequence[str]) -> _Ends:
        """The possible fields in each column: counted from both ends, since delimiters in a text add fields."""
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
