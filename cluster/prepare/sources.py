"""Which files a person's SOURCE arguments mean: files, folders and `s3://` addresses, in a fixed order."""

import os
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cluster.stores import store_of
from trainer.errors import InputError, NotReadyError
from trainer.store import Folder, Store

FORMATS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
}


@dataclass(frozen=True, kw_only=True)
class Source:
    """One input file: the object `key` of `store`; `name` is what an error calls it."""

    store: Store
    key: str
    name: str
    format: str
    bytes: int


def find(uris: Sequence[str]) -> tuple[Source, ...]:
    """All input files, in the order given; the files of a folder in the order of their paths.

    Raises:
        InputError: a source does not exist, has an unknown ending, comes twice, or the formats differ.
        NotReadyError: a store does not answer.
    """
    files = [file for uri in uris for file in _files(uri)]
    if not files:
        raise InputError("no source was given: name a Parquet, JSONL or CSV file, or a folder of them")
    seen: set[str] = set()
    for file in files:
        if file.name in seen:
            raise InputError(f"source {file.name} is given twice: name it once")
        seen.add(file.name)
    # The types of a column are decided once for all files, and CSV has none: one format at a time.
    others = [file for file in files if _typed(file) != _typed(files[0])]
    if others:
        raise InputError(
            f"sources mix formats ({files[0].name} and {others[0].name}): convert them to one, best Parquet"
        )
    return tuple(files)


@contextmanager
def opened(source: Source) -> Iterator[Path]:
    """A local file with the source's content: the file itself, or a copy of an object that is deleted afterwards.

    Parquet is read by path from a local file only (pyarrow may abort a process that read a Python file object), and
    an object is fetched whole, because only that has a deadline. It is fetched again by every pass: one copy at a
    time, whatever the size of the input.

    Raises:
        InputError: the source is not there, or not on this machine.
        NotReadyError: the store does not give it, or the disk is full.
    """
    if isinstance(source.store, Folder):
        path = Path(source.store.uri) / source.key
        if not path.is_file():
            raise InputError(
                f"source {source.name} is not on the machine {socket.gethostname()}: with --address every machine of "
                "the cluster must see it; put it on s3:// or in a shared folder"
            )
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="batchscope-source-") as folder:
        path = Path(folder) / PurePosixPath(source.key).name
        try:
            source.store.fetch(source.key, path)
        except FileNotFoundError:
            raise InputError(f"source {source.name} is no longer there: leave the sources alone meanwhile") from None
        except OSError as problem:
            raise NotReadyError(
                f"source {source.name} cannot be copied to {folder} ({problem}): make space there, or set TMPDIR"
            ) from problem
        yield path


def _typed(file: Source) -> str:
    return "csv" if file.format in ("csv", "tsv") else file.format


def _files(uri: str) -> list[Source]:
    store = store_of(uri)
    if isinstance(store, Folder):
        return _local_files(uri, Path(store.uri))
    sizes = store.sizes()
    if sizes:
        return _of_folder(uri, store, sizes)
    place, _, last = store.uri.rpartition("/")
    # A place `s3:/` is of a whole bucket that has no objects.
    sizes = {} if place == "s3:/" else store_of(place).sizes(last)
    if last not in sizes:
        raise InputError(f"source {uri} does not exist: check the path")
    return [_source(store_of(place), last, sizes[last])]


def _local_files(uri: str, path: Path) -> list[Source]:
    def refuse(problem: OSError) -> None:
        raise problem

    try:
        if not path.exists():
            raise InputError(f"source {uri} does not exist: check the path")
        if not path.is_dir():
            return [_source(Folder(str(path.parent)), path.name, path.stat().st_size)]
        walk = os.walk(path, onerror=refuse, followlinks=True)
        files = [Path(folder, name) for folder, _, names in walk for name in names]
        return _of_folder(
            uri, Folder(str(path)), {file.relative_to(path).as_posix(): file.stat().st_size for file in files}
        )
    except OSError as problem:
        raise NotReadyError(f"source {uri} cannot be read ({problem}): check permission") from None


def _of_folder(uri: str, store: Store, sizes: Mapping[str, int]) -> list[Source]:
    """The readable files of a folder. Notes beside the data (`README.md`, `_SUCCESS`) are passed over."""
    files = [name for name in sizes if not any(part.startswith((".", "_")) for part in PurePosixPath(name).parts)]
    known = sorted(name for name in files if _ending(name) in FORMATS)
    if not known:
        found = ", ".join(sorted({_ending(name) or "no ending" for name in files})) or "no files"
        raise InputError(f"source {uri} has no Parquet, JSONL or CSV file (found: {found}): check the folder")
    return [_source(store, name, sizes[name]) for name in known]


def _ending(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _source(store: Store, key: str, size: int) -> Source:
    name, ending = os.path.join(store.uri, key), _ending(key)
    if ending not in FORMATS:
        raise InputError(
            f"source {name} has the unknown ending {ending!r}: use one of {', '.join(FORMATS)} (uncompressed)"
        )
    return Source(store=store, key=key, name=name, format=FORMATS[ending], bytes=size)
