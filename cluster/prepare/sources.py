"""The files that a person's SOURCE arguments name: files, folders and `s3://` addresses, in a fixed order."""

import os
import socket
import stat
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cluster.prepare import unreadable
from cluster.process import scratch
from cluster.stores import store_of
from trainer.data.store import Folder, Store
from trainer.errors import InputError, NotReadyError, brief

FORMATS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
}
_HIDDEN = (".", "_")


@dataclass(frozen=True, kw_only=True)
class Source:
    """One input file: the object `key` of `store`; `name` is what an error calls it.

    `encoding` and `delimiter` are those of a text file; empty where they are not known.
    """

    store: Store
    key: str
    name: str
    format: str
    bytes: int
    encoding: str = ""
    delimiter: str = ""


def find(uris: Sequence[str]) -> tuple[Source, ...]:
    """All input files, in the order given; the files of a folder in the order of their paths.

    Raises:
        InputError: a source does not exist, has an unknown ending or is given twice, or the formats differ.
        NotReadyError: a store does not answer.
    """
    files = [file for uri in uris for file in _files(uri)]
    if not files:
        raise InputError("no source was given: name a Parquet, JSONL or CSV file, or a folder of them")
    seen: dict[object, str] = {}
    for file in files:
        identity = _identity(file)
        if identity in seen:
            other = seen[identity]
            same = "is given twice" if other == file.name else f"is the file {other} under another name"
            raise InputError(f"source {file.name} {same}: name it once, or delete the link")
        seen[identity] = file.name
    # A column's type is decided once for all files, and CSV has no types, so only one format is read at a time.
    others = [file for file in files if _typed(file) != _typed(files[0])]
    if others:
        raise InputError(
            f"sources mix formats ({files[0].name} and {others[0].name}): convert them to one, best Parquet"
        )
    return tuple(files)


@contextmanager
def opened(source: Source) -> Iterator[Path]:
    """A local file with the source's content: the file itself, or a copy of an object that is deleted afterwards.

    Parquet is read only by path from a local file (pyarrow may abort a process that read a Python file object), and an
    object is fetched as a whole, because only that has a deadline. Every pass fetches it again, so there is one copy at
    a time, whatever the size of the input.

    Raises:
        InputError: the source does not exist, or is not on this machine.
        NotReadyError: the store does not deliver it, or the disk is full.
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
    with scratch.folder("batchscope-source-", tempfile.gettempdir()) as folder:
        path = Path(folder) / PurePosixPath(source.key).name
        try:
            source.store.fetch(source.key, path)
        except FileNotFoundError:
            raise InputError(
                f"source {source.name} is no longer there: do not change the sources during the run"
            ) from None
        except OSError as problem:
            raise NotReadyError(
                f"source {source.name} cannot be copied to {folder} ({problem}): make room there, or set TMPDIR"
            ) from problem
        yield path


def _typed(file: Source) -> str:
    return "csv" if file.format in ("csv", "tsv") else file.format


def _identity(file: Source) -> object:
    """The same for two names of one file."""
    if not isinstance(file.store, Folder):
        return file.name
    try:
        found = os.stat(file.name)
    except OSError as problem:
        raise NotReadyError(f"source {file.name} cannot be read ({problem}): check permission") from None
    return found.st_dev, found.st_ino


def _files(uri: str) -> list[Source]:
    if not uri.strip():
        raise InputError("a source is an empty text: name a Parquet, JSONL or CSV file, or a folder of them")
    store = store_of(uri)
    if isinstance(store, Folder):
        return _local_files(uri, Path(store.uri))
    sizes = store.sizes()
    if sizes:
        return [_source(store, name, sizes[name]) for name in _readable(uri, sizes)]
    place, _, last = store.uri.rpartition("/")
    # The place is `s3:/` if `uri` is a whole bucket, and it has no objects.
    sizes = {} if place == "s3:/" else store_of(place).sizes(last)
    if last not in sizes:
        raise InputError(f"source {uri} does not exist: check the path")
    return [_source(store_of(place), last, sizes[last])]


def _local_files(uri: str, path: Path) -> list[Source]:
    try:
        if not path.exists():
            raise InputError(f"source {uri} does not exist: check the path")
        if not path.is_dir():
            return [_local(path.parent, path.name)]
        return [_local(path, name) for name in _readable(uri, _below(path))]
    except OSError as problem:
        raise NotReadyError(f"source {uri} cannot be read ({problem}): check its permissions") from None


def _below(path: Path) -> list[str]:
    """The names of all files in a folder and below. A folder to which several links lead is visited once."""

    def refuse(problem: OSError) -> None:
        raise problem

    names = []
    seen = set()
    for folder, below, files in os.walk(path, onerror=refuse, followlinks=True):
        found = os.stat(folder)
        if (found.st_dev, found.st_ino) in seen:
            below.clear()
            continue
        seen.add((found.st_dev, found.st_ino))
        # Hidden folders are skipped here too, so that a folder's files are not found through a hidden link.
        below[:] = sorted(name for name in below if not name.startswith(_HIDDEN))
        names += [Path(folder, name).relative_to(path).as_posix() for name in files]
    return names


def _readable(uri: str, names: Iterable[str]) -> list[str]:
    """The files of a folder that are read. Other files next to the data (`README.md`, `_SUCCESS`) are skipped."""
    files = [name for name in names if not any(part.startswith(_HIDDEN) for part in PurePosixPath(name).parts)]
    packed = sorted(
        name for name in files if _ending(name) in unreadable.PACKED and _ending(name.rpartition(".")[0]) in FORMATS
    )
    if packed:
        raise InputError(
            f"source {uri} holds {packed[0]}, but compressed files are not read: "
            f"{unreadable.remedy(packed[0], _ending(packed[0]))}, or move it away"
        )
    known = sorted(name for name in files if _ending(name) in FORMATS)
    if not known:
        found = ", ".join(sorted({_ending(name) or "no ending" for name in files})) or "no files"
        raise InputError(f"source {uri} has no Parquet, JSONL or CSV file (found: {brief(found)}): check the folder")
    return known


def _local(folder: Path, name: str) -> Source:
    """A file of this machine; it must be a regular file, because it is read several times."""
    path = folder / name
    try:
        found = path.stat()
    except FileNotFoundError:
        raise InputError(f"source {path} is a link to nothing: delete it") from None
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"source {path} is a pipe or a device, but it must be read several times: save it as a file")
    return _source(Folder(str(folder)), name, found.st_size)


def _ending(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _source(store: Store, key: str, size: int) -> Source:
    name, ending = os.path.join(store.uri, key), _ending(key)
    if ending not in FORMATS:
        remedy = unreadable.remedy(name, ending)
        raise InputError(
            f"source {name} has the unknown ending {ending!r}: use one of {', '.join(FORMATS)} (uncompressed)"
            f"{f'; {remedy}' if remedy else ''}"
        )
    return Source(store=store, key=key, name=name, format=FORMATS[ending], bytes=size)
