"""`batchscope.Table`: a pyarrow table that a notebook displays and that pandas, polars and DuckDB read directly."""

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .shown import Shown

if TYPE_CHECKING:
    import pyarrow as pa

    from cluster.text.table import Column

ROWS_SHOWN = 20


@dataclass(frozen=True, repr=False)
class Table(Shown):
    """Rows of a summary. `table` is the pyarrow table with all columns; only some of them are printed.

    >>> points = batchscope.Summary("summary").points("wiki")
    >>> points.to_pandas()                       # if pandas is installed
    >>> polars.from_arrow(points)                # no copy: Arrow's C stream interface
    >>> points["best_validation_loss_mean"].to_pylist()

    `shown` are the columns that are printed, None for all.
    """

    table: "pa.Table"
    title: str = ""
    shown: "tuple[Column, ...] | None" = None

    @property
    def column_names(self) -> list[str]:
        """The names of all columns."""
        names: list[str] = self.table.column_names
        return names

    @property
    def num_rows(self) -> int:
        """The number of rows."""
        return len(self)

    def to_pandas(self) -> Any:
        """The rows as a pandas DataFrame; pandas must be installed."""
        return self.table.to_pandas()

    def to_pylist(self) -> list[dict[str, Any]]:
        """The rows as dictionaries."""
        rows: list[dict[str, Any]] = self.table.to_pylist()
        return rows

    def __len__(self) -> int:
        """The number of rows."""
        rows: int = self.table.num_rows
        return rows

    def __getitem__(self, column: str) -> "pa.ChunkedArray":
        """A column by its name."""
        return self.table[column]

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """The Arrow stream through which polars, DuckDB, pandas and pyarrow itself read a table."""
        return self.table.__arrow_c_stream__(requested_schema)

    def __repr__(self) -> str:
        """The first rows as text, with the columns that fit a terminal."""
        from cluster.text.table import asked_for, to_text

        columns = asked_for(self.column_names, ()) if self.shown is None else self.shown
        first, width = self.table.slice(0, ROWS_SHOWN), shutil.get_terminal_size().columns
        return to_text(first, columns, width=width) + self._size()

    def _repr_html_(self) -> str:
        """The first rows as an HTML table, for a notebook; names that users chose are escaped."""
        from cluster.report.page.tables import columned, html_table

        first, caption = self.table.slice(0, ROWS_SHOWN), f"{self.title}: {self._size()}"
        return html_table(first, caption) if self.shown is None else columned(first, self.shown, caption)

    def _size(self) -> str:
        if len(self) > ROWS_SHOWN:
            return f"the first {ROWS_SHOWN} of {len(self):,} rows"
        return "1 row" if len(self) == 1 else f"{len(self)} rows"
