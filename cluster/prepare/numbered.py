"""The physical lines of a text file, each with its number, counted from 1."""

from collections.abc import Iterator
from pathlib import Path

from cluster.prepare import text_form
from cluster.prepare.sources import Source
from trainer.errors import InputError, NotReadyError

# A longer line is not an article, but a missing line end or an unclosed quote: refuse it before memory is full.
LINE_BYTES = 64 * 2**20

Record = tuple[int, dict[str, object]]


def lines(source: Source, path: Path) -> Iterator[tuple[int, str]]:
    """The file's lines, decoded one by one, so that an error names the line of a wrong byte.

    Raises:
        InputError: a line is too long or is not in the file's encoding.
        NotReadyError: the file may not be read.
    """
    try:
        with path.open("rb") as file:
            encoding = text_form.encoding_of(file.read(4), source.encoding)
            if encoding != "utf-8":
                yield from _decoded(source, path, encoding)
                return
            file.seek(0)
            for number, line in enumerate(iter(lambda: file.readline(LINE_BYTES), b""), start=1):
                if len(line) == LINE_BYTES:
                    raise InputError(f"{source.name} line {number} is longer than 64 MiB: put one article on each line")
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as problem:
        raise InputError(
            f"{source.name} line {number} is not UTF-8 ({problem.reason}): save the file as UTF-8, or, if "
            f"{text_form.as_likely_meant(line)!r} is what it says there, pass --encoding {text_form.LIKELY}"
        ) from None
    except OSError as problem:
        raise NotReadyError(f"{source.name} cannot be read ({problem}): check its permissions") from None


def _decoded(source: Source, path: Path, encoding: str) -> Iterator[tuple[int, str]]:
    """The lines of a file in another encoding than UTF-8, in which a line's end may take several bytes."""
    number = 0
    try:
        with path.open(encoding=encoding, newline="\n") as file:
            for number, line in enumerate(iter(lambda: file.readline(LINE_BYTES), ""), start=1):
                if len(line) == LINE_BYTES:
                    raise InputError(f"{source.name} line {number} is longer than 64 MiB: put one article on each line")
                yield number, line
    except UnicodeError as problem:
        raise InputError(
            f"{source.name} is not {encoding} after line {number} ({getattr(problem, 'reason', problem)}): pass "
            "another --encoding, or save the file as UTF-8"
        ) from None
