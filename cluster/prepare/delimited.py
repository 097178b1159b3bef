"""The records of CSV and TSV files. No line of a file is lost in a field without a word.

CSV is that of RFC 4180: a field that begins with a quote ends with one, if need be several lines later, and quotes
in it are doubled. A TSV is read so too, unless each of its lines by itself has the header's fields and a quote stands
where no writer of quoted fields puts it: then quotes are characters like others, as in most TSV files of sentences.
"""

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cluster.prepare.batches import Columns, require
from cluster.prepare.fields import widest
from cluster.prepare.numbered import LINE_BYTES, Record, lines
from cluster.prepare.rowlike import Rowlike
from cluster.prepare.sources import Source, opened
from trainer.errors import InputError

_WRITE_AGAIN = "quote the field and double the quotes in it, or write the file as JSONL or Parquet"


@dataclass
class _Taken:
    """The physical lines on their way to the reader of CSV; `record` are those of the record it is at."""

    lines: Iterator[tuple[int, str]]
    record: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[str]:
        for _, line in self.lines:
            self.record.append(line)
            yield line

    def remedy(self, otherwise: str) -> str:
        """What to do about a record that cannot be read."""
        if any('\\"' in line for line in self.record):
            return "its quotes are escaped with a backslash: double them instead (in Spark option('escape', '\"'))"
        return otherwise


@dataclass(frozen=True)
class Dialect:
    """How the records of a file stand: the character between fields, the header's names, and its quotes' meaning."""

    delimiter: str
    header: tuple[str, ...]


def records(source: Source, path: Path, columns: Columns) -> Iterator[Record]:
    """The wanted fields of each record, with the line it begins on; blank lines are passed over.

    Raises:
        InputError: the file is not CSV, or a record has not the header's number of fields.
        NotReadyError: it may not be read.
    """
    wanted: list[tuple[str, int]] = []
    for line, values, _, layout in _records(source, path, columns):
        wanted = wanted or [(name, layout.header.index(name)) for name in columns.names()]
        yield line, {name: values[index] for name, index in wanted}


def label_type(source: Source, column: str) -> str:
    """What a CSV file does not say: the type of its labels, one of `fields.FIELD_TYPES`.

    The file is read once for this. To guess from the first block, as readers of CSV do, is wrong for a column that
    goes on otherwise; to decide at the end would need every value in memory.

    Raises:
        InputError: as `records`, and where quotes have swallowed rows.
    """
    records = _looked_through(source, Columns(text=column, label=column), lambda names: [names.index(column)])
    return records.columns[0].kind if records else widest(set())


def refuse_swallowed(source: Source, text: str) -> None:
    """Look for rows that quotes have swallowed where there are no labels, in what stands beside the text.

    Raises:
        InputError: as `label_type`.
    """

    def others(names: Sequence[str]) -> list[int]:
        return [index for index, name in enumerate(names) if name != text]

    _looked_through(source, Columns(text=text, label=None), others)


def _looked_through(source: Source, columns: Columns, chosen: Callable[[Sequence[str]], list[int]]) -> Rowlike | None:
    """What the records say of the columns `chosen` from the header; None where there is no record or no column."""
    found: Rowlike | None = None
    with opened(source) as path:
        for line, values, taken, layout in _records(source, path, columns):
            if found is None and (indices := chosen(layout.header)):
                found = Rowlike(len(layout.header), indices)
            if found is None:
                return None
            found.add(line, values, [physical.rstrip("\r\n").split(layout.delimiter) for physical in taken[:-1]])
    if found and (lines := found.swallowed()):
        first, last = lines
        raise InputError(
            f"{source.name} line {first}: a quote opens a field there that ends on line {last} and holds what look "
            f"like rows: {_WRITE_AGAIN}"
        )
    return found


def _records(source: Source, path: Path, columns: Columns) -> Iterator[tuple[int, list[str], Sequence[str], Dialect]]:
    """All fields of the records with, of each, its physical lines."""
    csv.field_size_limit(LINE_BYTES)
    delimiter = "\t" if source.format == "tsv" else ","
    plain = source.format == "tsv" and _quotes_are_characters(source, path)
    taken = _Taken(lines(source, path))
    reader = csv.reader(taken, delimiter=delimiter, quoting=csv.QUOTE_NONE if plain else csv.QUOTE_MINIMAL, strict=True)
    line = 1
    try:
        header = next(reader, [])
        require(source.name, columns, header)
        layout = Dialect(delimiter, tuple(header))
        line = reader.line_num + 1
        taken.record.clear()
        for values in reader:
            if len(header) > 1 and [value.removeprefix("\ufeff") for value in values] == header:
                raise InputError(
                    f"{source.name} line {line} is the header again: two files were joined; delete the line"
                )
            if values and len(values) != len(header):
                remedy = taken.remedy("correct the line (a field with a comma, quote or line end must be quoted)")
                raise InputError(
                    f"{source.name} line {line} has {len(values)} fields, the header has {len(header)}: {remedy}"
                )
            if values:
                yield line, values, taken.record, layout
            line = reader.line_num + 1
            taken.record.clear()
    except csv.Error as problem:
        if "new-line character" in str(problem):
            raise InputError(
                f"{source.name} line {line} holds a lone carriage return: end lines with LF or CR LF, or quote the "
                "field in which it stands"
            ) from None
        remedy = taken.remedy(f"look for a quote that is not closed or doubled; {_WRITE_AGAIN}")
        raise InputError(f"{source.name} line {line} is not CSV ({problem}): {remedy}") from None


def _quotes_are_characters(source: Source, path: Path) -> bool:
    """Whether each line of a TSV is a row by itself, and a quote opens a field that does not end on its line."""
    columns, first_odd = 0, 0
    for number, line in lines(source, path):
        fields = line.rstrip("\r\n").split("\t")
        if fields == [""]:
            continue
        columns = columns or len(fields)
        if len(fields) != columns:
            return False
        if not first_odd and any(map(_is_open, fields)):
            first_odd = number
    if first_odd and columns == 1:
        raise InputError(
            f"{source.name} line {first_odd} begins with a quote that does not end with it: of one column it cannot be "
            "told whether the text goes on on the next line: write the file as JSONL"
        )
    return bool(first_odd)


def _is_open(text: str) -> bool:
    """Whether a field begins with a quote, and is not what a writer of quoted fields makes of a text of one line."""
    if not text.startswith('"'):
        return False
    return len(text) < 2 or not text.endswith('"') or '"' in text[1:-1].replace('""', "")
