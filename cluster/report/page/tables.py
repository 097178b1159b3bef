"""Tables of the page: a sortable twin of every chart, and each whole table as CSV in a link that needs no script."""

import base64
import gzip
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from cluster.report.page.markup import Attribute, Markup, join, tag
from cluster.report.page.scales import value_text
from cluster.text.formats import to_csv
from cluster.text.table import Column

# Of a longer table only every n-th row is shown; the file has them all.
_MOST_ROWS = 600
_MOST_PLAIN_BYTES = 40_000


def html_table(
    rows: pa.Table,
    caption: str,
    *,
    heads: Mapping[str, str] | None = None,
    decimals: Mapping[str, int | None] | None = None,
    linked: Mapping[str, str] | None = None,
    most_rows: int = _MOST_ROWS,
) -> Markup:
    """A table that a reader can sort by its columns; numbers carry their full value besides the one shown.

    The values of `linked` columns are links to what begins with the given address and ends with the value.
    """
    every = -(-rows.num_rows // most_rows) or 1
    shown = rows.take(list(range(0, rows.num_rows, every))).to_pylist() if every > 1 else rows.to_pylist()
    sampled = f" (one in {every} of {rows.num_rows:,} rows; the CSV has all)" if every > 1 else ""
    numbers = {field.name: not pa.types.is_string(field.type) for field in rows.schema}
    head = tag("tr", *(_head(name, (heads or {}).get(name), number=numbers[name]) for name in rows.column_names))
    body = (
        tag(
            "tr",
            *(
                _link(value, linked[name])
                if linked and name in linked
                else _cell(value, number=numbers[name], decimals=(decimals or {}).get(name))
                for name, value in row.items()
            ),
        )
        for row in shown
    )
    table = tag("table", tag("caption", caption + sampled), tag("thead", head), tag("tbody", *body), class_="sortable")
    return tag("div", table, class_="scroll", tabindex="0", role="region", aria_label=caption)


def columned(rows: pa.Table, columns: Sequence[Column], caption: str, **keywords: Any) -> Markup:
    """A table with the heads of `columns`, without columns that have no value."""
    kept = [
        column
        for column in columns
        if column.name in rows.column_names and column.is_shown(rows[column.name].to_pylist())
    ]
    return html_table(
        rows.select([column.name for column in kept]),
        caption,
        heads={column.name: " ".join(filter(None, column.head)) for column in kept},
        decimals={column.name: column.decimals for column in kept},
        **keywords,
    )


def csv_link(rows: pa.Table, file: str, text: str = "CSV") -> Markup:
    """A link that holds the table as CSV and saves it.

    A long table is packed. The page's script unpacks it; without the script it is saved packed.
    """
    content = to_csv(rows).encode()
    if len(content) < _MOST_PLAIN_BYTES:
        return data_link(content, "text/csv;charset=utf-8", file, text)
    return data_link(gzip.compress(content, mtime=0), "application/gzip", f"{file}.gz", text, unpacked=file)


def data_link(content: bytes, kind: str, file: str, text: str, **script: str) -> Markup:
    """A link that holds a file's content and saves it.

    `script` tells the page's script to save another file: `unpacked` is its name after gzip is removed, `picture` that
    of an SVG as PNG.
    """
    address = f"data:{kind};base64,{base64.b64encode(content).decode()}"
    told: dict[str, Attribute] = {f"data_{what}": name for what, name in script.items()}
    return tag("a", text, download=file, href=address, class_="save", **told)


def _head(name: str, text: str | None, *, number: bool) -> Markup:
    return tag("th", text or name.replace("_", " "), scope="col", class_="number" if number else None)


def _link(value: str, begins: str) -> Markup:
    return tag("td", tag("a", value, href=f"{begins}{quote(value, safe='')}"))


def _cell(value: Any, *, number: bool, decimals: int | None) -> Markup:
    if value is None:
        return tag("td", "-", class_="none" if not number else "number none")
    if isinstance(value, datetime):
        return tag("td", value.strftime("%Y-%m-%d %H:%M:%S"), data_value=value.isoformat())
    if isinstance(value, float):
        text = value_text(value) if decimals is None else f"{value:,.{decimals}f}"
        return tag("td", text, class_="number", data_value=repr(value))
    return tag(
        "td",
        f"{value:,}" if isinstance(value, int) else f"{value}",
        class_="number" if number else None,
        data_value=f"{value}" if number else None,
    )


def figure_table(rows: pa.Table, title: str, file: str) -> Markup:
    """The numbers behind a chart, folded away, and their file."""
    inner = join([tag("p", csv_link(rows, file, f"{title} as CSV")), html_table(rows, title)])
    return tag("details", tag("summary", "Table and CSV"), inner)
