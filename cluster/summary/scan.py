"""Reading one table of the summary: the objects of a folder or a bucket are verified, and their rows judged.

What cannot be read or accepted is reported and left out, and does not affect the rest. pyarrow's own S3 filesystem
bounds no call, so a bucket is read through its store, many objects at once.
"""

import contextlib
import functools
import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import pyarrow as pa

from cluster.stores.bucket import Bucket
from cluster.summary.accepted import AcceptedFile, checked, judge
from cluster.summary.compacted import Holders, holders, number_of
from cluster.summary.content import content_of, kept_content
from cluster.summary.encoding import DamagedError, decode
from cluster.summary.parts import Part, part_of
from cluster.summary.problems import Note, Problem, tell, warn
from cluster.summary.tables import SCHEMAS, is_study_name
from trainer.data.store import Store
from trainer.errors import NotReadyError

READERS = 16
AT_ONCE = 500
# How often a table is listed again because one of its files was compacted away before it was read.
LISTINGS = 5
# So many that two compactions meanwhile hide no row.
LISTINGS_OF_A_FOLDER = 3
# The tables whose numbers are results, or by which results are judged.
MEASURED = ("studies", "trials", "evaluations")

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Reading:
    """One try at reading a table: the names of its objects, and the problems found with them so far."""

    store: Store
    table: str
    names: Holders
    content: Callable[[str], bytes]
    problems: list[Problem] = field(default_factory=list)


def scan(
    store: Store, table: str, study: str | None, columns: Sequence[str] | None = None, *, note: Note = warn
) -> pa.Table:
    """The accepted rows of one study or of all, in one chunk, with all columns or the given ones.

    Columns that a file lacks are null. `note` is called for each object that is left out, in part or as a whole.

    Raises:
        NotReadyError: the store cannot be read.
    """
    schema = SCHEMAS[table]
    wanted = schema.names if columns is None else columns
    known = set(checked(table))
    needed = pa.schema([field for field in schema if field.name in wanted or field.name in known])

    def read() -> tuple[pa.Table, list[Problem]]:
        reading = listed(store, table, study)
        return _rows(reading, needed), reading.problems

    rows, problems = steadily(store, read)
    tell(problems, note, uri=store.uri, folder=table)
    return rows.select(wanted)


def steadily(store: Store, read: Callable[[], Answer]) -> Answer:
    """What `read` returns; it is called again if a file that it listed is gone.

    Raises:
        NotReadyError: that happens again and again.
    """
    for _ in range(LISTINGS):
        with contextlib.suppress(FileNotFoundError):
            return read()
    raise NotReadyError(f"files in {store.uri} were deleted while the summary was read: try again")


def listed(store: Store, table: str, study: str | None) -> Reading:
    """The objects of a table that hold rows, and how to read one.

    Raises:
        FileNotFoundError: an object that was listed is gone.
        NotReadyError: the store cannot be read.
    """
    prefix = f"{table}/" if study is None else f"{table}/study={study}/"
    problems: list[Problem] = []
    if isinstance(store, Bucket):
        versions = store.versions(prefix)
        names, content = set(versions), functools.partial(kept_content, store, versions)
    else:
        # Listed again and again: `cluster.summary.compacted` explains why.
        names = {name for _ in range(LISTINGS_OF_A_FOLDER) for name in store.names(prefix)}
        content = functools.partial(content_of, store)
    strays = {name for name in names if study_of(name) is None}
    for name in sorted(strays):
        if not name.rpartition("/")[2].startswith((".", "_")):
            problems.append(Problem(name, f"left out: it is in no study's folder, {table}/study=NAME"))
    return Reading(store, table, holders(names - strays, content, problems.append), content, problems)


def verified_files(store: Store, table: str, study: str | None) -> list[tuple[str, str | None]] | None:
    """The files of a table in a folder, each with its study, if compaction made and sealed all of them; else None.

    Their rows were judged before they were written, and each study has one file, so nothing needs to be left out.
    """
    reading = listed(store, table, study)
    names = reading.names.live
    if reading.problems or reading.names.earlier or len({study_of(name) for name in names}) < len(names):
        return None
    for name in names:
        with contextlib.suppress(DamagedError):
            if number_of(name) and decode(reading.content(name)).sealed:
                continue
        return None
    return [(f"{store.uri}/{name}", study_of(name)) for name in names]


def names_of_studies(store: Store, table: str) -> set[str]:
    """The studies that have rows in a table, according to the names of its objects."""
    return {study for name in store.names(f"{table}/") if (study := study_of(name)) is not None}


def study_of(name: str) -> str | None:
    """The study in whose folder the object `name` lies; None if the folder is not a study's."""
    match = re.fullmatch(r"[^/]+/study=([^/]+)/[^/]+", name)
    return match[1] if match and is_study_name(match[1]) else None


def _rows(reading: Reading, schema: pa.Schema) -> pa.Table:
    """The accepted rows of all objects."""
    names = [*reading.names.live, *reading.names.earlier]

    def read(name: str) -> Part | Problem:
        try:
            return part_of(name, study_of(name), reading.content(name), reading.table, schema.names)
        except DamagedError as problem:
            return Problem(name, f"left out: {problem}")

    sources: list[AcceptedFile] = []
    earlier = set(reading.names.earlier)
    unsealed = 0

    def readable(parts: Iterable[Part | Problem]) -> Iterable[pa.Table]:
        nonlocal unsealed
        for part in parts:
            if isinstance(part, Problem):
                reading.problems.append(part)
                continue
            sources.append(AcceptedFile(part.name, len(part.rows), earlier=part.name in earlier))
            unsealed += not part.sealed
            yield part.rows

    if isinstance(reading.store, Bucket):
        with ThreadPoolExecutor(READERS, thread_name_prefix="summary") as pool:
            try:
                rows = _joined(readable(pool.map(read, names)), schema)
            except BaseException:
                # Reads that have begun end within the store's deadline.
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    else:
        rows = _joined(readable(map(read, names)), schema)
    judged = judge(reading.table, rows, sources)
    reading.problems.extend(judged.problems)
    if unsealed and reading.table in MEASURED:
        what = f"{unsealed} of {len(names)} files were written by an older version without a checksum: not verified"
        reading.problems.append(Problem(reading.table, what))
    return rows if judged.accepted.all() else rows.filter(pa.array(judged.accepted)).combine_chunks()


def _joined(parts: Iterable[pa.Table], schema: pa.Schema) -> pa.Table:
    """One table in one chunk, because many chunks would slow down everything that follows."""
    rest, joined = iter(parts), []
    # A few hundred at a time, because the overhead of a small table is ten times as large as its row.
    while next_parts := list(itertools.islice(rest, AT_ONCE)):
        joined.append(pa.concat_tables(next_parts).combine_chunks())
    return pa.concat_tables(joined).combine_chunks() if joined else schema.empty_table()
