"""What `prepare` read: the files, their form, the rows left out, and duplicates; for the person who called it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cluster.prepare.faults import Faults
from cluster.prepare.first_pass import FirstPass
from cluster.prepare.sources import Source


@dataclass(frozen=True, kw_only=True)
class WhatWasRead:
    """The files and rows of one data set.

    `delimiters` and `encodings` are those of CSV files, each once; empty for other formats, if not given. `rows` counts
    all, also those left out, which are in `faults`. `duplicates` repeat an earlier row and are kept.
    """

    files: int
    format: str
    delimiters: tuple[str, ...]
    encodings: tuple[str, ...]
    rows: int
    faults: Faults
    duplicates: int


OnRead = Callable[[WhatWasRead], object]


def ignored(read: WhatWasRead) -> None:
    """The `OnRead` of a caller who does not want to know."""


def what_was_read(sources: Sequence[Source], found: FirstPass) -> WhatWasRead:
    """What the first pass over the sources found."""
    return WhatWasRead(
        files=len(sources),
        format=sources[0].format,
        delimiters=tuple(dict.fromkeys(source.delimiter for source in sources if source.delimiter)),
        encodings=tuple(dict.fromkeys(source.encoding for source in sources if source.encoding)),
        rows=found.kept + found.skipped,
        faults=found.faults,
        duplicates=found.duplicates,
    )
