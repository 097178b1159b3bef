"""The records of CSV and TSV files. No line is silently swallowed by a field.

CSV is read as in RFC 4180: a field that begins with a quote ends with one, perhaps several lines later, and quotes
inside are doubled. A TSV is read in the same way, unless each of its lines by itself has as many fields as the header
and there is a quote where no writer of quoted fields would put it: then quotes are ordinary characters, as in most TSV
files of sentences.
"""

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cluster.prepare import text_form
from cluster.prepare.batches import Columns, require
from cluster.prepare.fields import widest
from cluster.prepare.numbered import LINE_BYTES, Record, lines
from cluster.prepare.rowlike import Rowlike
from cluster.prepare.sources import Source, opened
from trainer.errors import InputError

_WRITE_AGAIN = "quote the field and double the quotes in it, or write the file as JSONL or Parquet"


@dataclass
class _Taken:
    """The physical lines on their way to the CSV reader; `record` has those of the current record."""

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
    """The form of a file's records: the character between fields, and the names in the header."""

    delimiter: str
    header: tuple[str, ...]


def records(source: Source, path: Path, columns: Columns) -> Iterator[Record]:
    """The wanted fields of each record, with the line on which it begins; blank lines are skipped.

    Raises:
        InputError: the file is not CSV, or a record does not have as many fields as the header.
        NotReadyError: the file may not be read.
    """
    wanted: list[tuple[str, int]] = []
    for line, values, _, layout in _records(source, path, columns):
        wanted = wanted or [(name, layout.header.index(name)) for name in columns.names()]
        yield line, {name: values[index] for name, index in wanted}


@dataclass(frozen=True)
class FirstLook:
    """What a first reading of a CSV file finds: the type of its labels, its delimiter and its encoding."""

    label_type: str
    delimiter: str
    encoding: str


def header(source: Source, wanted: Sequence[str]) -> tuple[str, ...]:
    """The names of a CSV file's columns, some of which are `wanted`; empty if it has none.

    Raises:
        InputError: the first line is not in the file's encoding.
    """
    with opened(source) as path:
        for _, line in lines(source, path):
            usual = text_form.USUAL_DELIMITER[source.format]
            delimiter = source.delimiter or text_form.delimiter_of(line, wanted, usual)
            return tuple(next(csv.reader([line.rstrip("\r\n")], delimiter=delimiter), []))
    return ()


def label_type(source: Source, columns: Columns) -> FirstLook:
    """The type of a CSV file's labels, one of `fields.FIELD_TYPES`, which the file does not state, and its form.

    The file is read once for this. Guessing from the first block, as CSV readers do, is wrong if the column changes
    later on; deciding at the end would need every value in memory.

    Raises:
        InputError: as in `records`, or if quotes have swallowed rows.
    """
    label = columns.label or ""
    records, delimiter, encoding = _looked_through(source, columns, lambda names: [names.index(label)])
    return FirstLook(records.columns[0].kind if records else widest(set()), delimiter, encoding)


def refuse_swallowed(source: Source, text: str) -> FirstLook:
    """Look for rows that quotes have swallowed in a file without labels, by the columns other than the text.

    Raises:
        InputError: as in `label_type`.
    """

    def others(names: Sequence[str]) -> list[int]:
        return [index for index, name in enumerate(names) if name != text]

    _, delimiter, encoding = _looked_through(source, Columns(text=text, label=None), others)
    return FirstLook("string", delimiter, encoding)


def _looked_through(
    source: Source, columns: Columns, chosen: Callable[[Sequence[str]], list[int]]
) -> tuple[Rowlike | None, str, str]:
    """The records' values in the columns `chosen` from the header, and the file's delimiter and encoding.

    The first is None if there is no record or no such column.
    """
    rowlike: Rowlike | None = None
    delimiter = source.delimiter
    with opened(source) as path:
        with path.open("rb") as file:
            encoding = text_form.encoding_of(file.read(4), source.encoding)
        for line, values, taken, layout in _records(source, path, columns):
            if rowlike is None and (indices := chosen(layout.header)):
                rowlike = Rowlike(len(layout.header), indices)
            delimiter = layout.delimiter
            if rowlike is None:
                return None, delimiter, encoding
            rowlike.add(line, values, [physical.rstrip("\r\n").split(layout.delimiter) for physical in taken[:-1]])
    if rowlike and (lines := rowlike.swallowed()):
        first, last = lines
        raise InputError(
            f"{source.name} line {first}: a quote opens a field there that ends on line {last} and contains what "
            f"look like rows: {_WRITE_AGAIN}"
        )
    return rowlike, delimiter, encoding


def _records(source: Source, path: Path, columns: Columns) -> Iterator[tuple[int, list[str], Sequence[str], Dialect]]:
    """All fields of each record, with the line on which it begins and its physical lines."""
    csv.field_size_limit(LINE_BYTES)
    delimiter = source.delimiter or _delimiter(source, path, columns)
    plain = delimiter == "\t" and _quotes_are_characters(source, path)
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
                    f"{source.name} line {line} has {len(values)} fields, but the header has {len(header)}: {remedy}"
                )
            if values:
                yield line, values, taken.record, layout
            line = reader.line_num + 1
            taken.record.clear()
    except csv.Error as problem:
        if "new-line character" in str(problem):
            raise InputError(
                f"{source.name} line {line} contains a lone carriage return: end lines with LF or CR LF, or quote the "
                "field that contains it"
            ) from None
        remedy = taken.remedy(f"look for a quote that is not closed or doubled; {_WRITE_AGAIN}")
        raise InputError(f"{source.name} line {line} is not CSV ({problem}): {remedy}") from None


def _delimiter(source: Source, path: Path, columns: Columns) -> str:
    """The delimiter by the file's first line."""
    usual = text_form.USUAL_DELIMITER[source.format]
    first = next(lines(source, path), None)
    return usual if first is None else text_form.delimiter_of(first[1], columns.names(), usual)


def _quotes_are_characters(source: Source, path: Path) -> bool:
    """Whether each line of a TSV is a row by itself, but a quote opens a field that does not end on its line."""
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
            f"{source.name} line {first_odd} begins with a quote that is not closed on that line: with a single "
            "column, it is unclear whether the text continues on the next line: write the file as JSONL"
        )
    return bool(first_odd)


def _is_open(text: str) -> bool:
    """Whether a field begins with a quote, but is not what a writer of quoted fields writes for a text of one line."""
    if not text.startswith('"'):
        return False
    return len(text) < 2 or not text.endswith('"') or '"' in text[1:-1].replace('""', "")
