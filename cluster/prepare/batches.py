"""What a reader of any format yields: a batch of raw rows, each with its place in the file."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from trainer.errors import InputError, brief, nearest

BATCH_ROWS = 2048
BATCH_BYTES = 16 * 2**20
# The most characters of a text (which takes some 150 bytes of memory per token while it is tokenised), and of a label,
# which is a name.
LONGEST_TEXT = 4 * 2**20
LONGEST_LABEL = 1000
# The most characters of a column's name that an error shows.
LONGEST_SHOWN = 80


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The names of the columns that are read; `group` is None without `--group-by`, `label` without labels.

    One of `text` and `features` is None. `field_type` is the type of the labels in a CSV file (`delimited.label_type`);
    the other formats have types of their own. With `classes`, labels are names, whatever their type
    (`--task classification`). If `wide`, these columns hold one number each, and `features` is how they were named.
    """

    text: str | None
    label: str | None
    features: str | None = None
    group: str | None = None
    field_type: str = "string"
    classes: bool = False
    wide: tuple[str, ...] = ()

    def names(self) -> list[str]:
        """The columns to read, each once."""
        features = self.wide or (self.features,)
        names = (self.text, *features, self.label, self.group)
        return list(dict.fromkeys(name for name in names if name is not None))


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Raw rows of one file.

    `places[i]` is the row's line or row number in the file, and `unit` names which of the two; `share` is the part of
    the file that the batch accounts for (for the progress bar). `texts` is empty if `features` are read, and `labels`
    is None if no column of labels is read.
    """

    file: str
    unit: str
    places: Sequence[int]
    texts: list[str | None]
    labels: pa.Array
    groups: list[object] | None
    share: float
    features: pa.Array | None = None

    def where(self, index: int) -> str:
        """The place of one row, in words for an error."""
        return f"{self.file} {self.unit} {self.places[index]}"


def require(file: str, columns: Columns, known: Sequence[str]) -> None:
    """Refuse a file that lacks a column, with the nearest name and a list of all, or that has a column twice."""
    for name in columns.names():
        if name not in known:
            listed = ", ".join(map(_shown, known[:20])) + (", ..." if len(known) > 20 else "")
            hint = nearest(name, [column for column in known if len(column) <= LONGEST_SHOWN])
            raise InputError(f"{file} has no column {name!r}{hint}: its columns are {listed}")
    once(file, columns, known)


def _shown(column: str) -> str:
    """A column's name, in quotes if it would otherwise not be visible as it is."""
    line = brief(column, LONGEST_SHOWN)
    return line if line == column or len(column) > LONGEST_SHOWN else repr(column)


def once(where: str, columns: Columns, known: Sequence[str]) -> None:
    """Refuse a wanted column that occurs several times, since it is unclear which is meant. Others do not matter."""
    for name in columns.names():
        if known.count(name) > 1:
            raise InputError(
                f"{where} has several columns named {name!r} ({known.count(name)}), so it is unclear which is meant: "
                "rename or drop all but one"
            )
