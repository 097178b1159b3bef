"""How a text file is written: its encoding, and the character between the fields of a CSV file. Both can be given.

A delimiter is found only by what is certain: the columns that are wanted stand in the header if it is cut there. An
encoding is UTF-8, or what the mark at a file's beginning says. No other one is guessed, since nearly every file can be
read as any of the one-byte encodings, with other letters.
"""

import codecs
import csv
from collections.abc import Sequence

from trainer.errors import InputError

USUAL_DELIMITER = {"csv": ",", "tsv": "\t"}
DELIMITERS = (",", ";", "\t", "|")
_NAMES = {"\t": "tab", "\\t": "tab"}
_GIVEN = {"tab": "\t", "\\t": "\t"}
_MARKS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
# The encoding that is most often meant where a file is not UTF-8.
LIKELY = "cp1252"


def check_form(file_format: str, *, encoding: str | None, delimiter: str | None) -> tuple[str, str]:
    """The encoding and delimiter as files are read with them; empty where they are not given.

    Raises:
        InputError: there is no such encoding, the delimiter is not one character, or the format has none of its own.
    """
    if encoding is not None:
        if file_format == "parquet":
            raise InputError(f"--encoding {encoding} is for CSV and JSONL, and Parquet is always UTF-8: leave it out")
        try:
            "a".encode(encoding)
            encoding = codecs.lookup(encoding).name
        except (LookupError, ValueError):
            raise InputError(
                f"--encoding is {encoding!r}, which is none: use one such as utf-8, {LIKELY} or utf-16"
            ) from None
    if delimiter is None:
        return encoding or "", ""
    if file_format not in USUAL_DELIMITER:
        raise InputError(f"--delimiter {delimiter!r} is for CSV files only: leave it out")
    found = _GIVEN.get(delimiter, delimiter)
    if len(found) != 1 or found in '"\r\n':
        raise InputError(f"--delimiter is {delimiter!r}: give one character, such as ';', or tab")
    return encoding or "", found


def encoding_of(beginning: bytes, given: str) -> str:
    """The encoding of a file that begins with these bytes: the one `given`, or by its mark, or UTF-8."""
    return given or next((name for mark, name in _MARKS.items() if beginning.startswith(mark)), "utf-8")


def delimiter_of(header: str, wanted: Sequence[str], usual: str) -> str:
    """The character between the fields of a header line.

    It is the `usual` one, unless only with another one all columns that are `wanted` are there, or, where some are
    nowhere, the usual one does not cut the line at all.
    """
    fields = {delimiter: _fields(header, delimiter) for delimiter in (usual, *DELIMITERS)}
    having = [delimiter for delimiter, names in fields.items() if set(wanted) <= set(names)]
    if having:
        return having[0]
    several = [delimiter for delimiter, names in fields.items() if len(names) > 1]
    return several[0] if several else usual


def delimiter_name(delimiter: str) -> str:
    """A delimiter as people write it."""
    return _NAMES.get(delimiter, f"'{delimiter}'")


def as_likely_meant(line: bytes) -> str:
    """How to read a line that is not UTF-8: what the usual encoding of such files makes of it."""
    text = line.decode(LIKELY, "replace")
    first = next((index for index, character in enumerate(text) if not character.isascii()), 0)
    return text[max(0, first - 12) : first + 12].strip()


def _fields(header: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([header.rstrip("\r\n")], delimiter=delimiter), [])
    except csv.Error:
        return []
