"""Which files a person's SOURCE arguments mean: files, folders and `s3://` addresses, in a fixed order."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import pyarrow as pa
from pyarrow import fs as pafs

from trainer.errors import InputError, NotReadyError
from trainer.manifest import locate

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
    """One input file; `name` is what an error calls it."""

    filesystem: pafs.FileSystem
    path: str
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
    names = [file.name for file in files]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"source {name} is given twice: name it once")
    # The types of a column are decided once for all files, and CSV has none: one format at a time.
    others = [file for file in files if _typed(file) != _typed(files[0])]
    if others:
        raise InputError(
            f"sources mix formats ({files[0].name} and {others[0].name}): convert them to one, best Parquet"
        )
    return tuple(files)


def _typed(file: Source) -> str:
    return "csv" if file.format in ("csv", "tsv") else file.format


def _files(uri: str) -> list[Source]:
    try:
        filesystem, path = locate(uri)
        info = filesystem.get_file_info(path)
        if info.type == pafs.FileType.NotFound:
            raise InputError(f"source {uri} does not exist: check the path")
        if info.type == pafs.FileType.File:
            return [_source(filesystem, info)]
        listed = filesystem.get_file_info(pafs.FileSelector(path, recursive=True))
    except pa.ArrowInvalid as problem:
        raise InputError(f"source {uri} is not a path or an s3:// address: {_line(problem)}") from None
    except OSError as problem:
        raise NotReadyError(f"source {uri} cannot be read ({_line(problem)}): check permission and region") from None
    return _of_folder(uri, filesystem, path, listed)


def _of_folder(uri: str, filesystem: pafs.FileSystem, folder: str, listed: list[pafs.FileInfo]) -> list[Source]:
    """The readable files of a folder. Notes beside the data (`README.md`, `_SUCCESS`) are passed over."""
    files = [info for info in listed if info.type == pafs.FileType.File and not _hidden(info.path, folder)]
    known = sorted((info for info in files if _ending(info.path) in FORMATS), key=lambda info: info.path)
    if not known:
        found = ", ".join(sorted({_ending(info.path) or "no ending" for info in files})) or "no files"
        raise InputError(f"source {uri} has no Parquet, JSONL or CSV file (found: {found}): check the folder")
    return [_source(filesystem, info) for info in known]


def _hidden(path: str, folder: str) -> bool:
    parts = PurePosixPath(path).relative_to(PurePosixPath(folder)).parts
    return any(part.startswith((".", "_")) for part in parts)


def _ending(path: str) -> str:
    return PurePosixPath(path).suffix.lower()


def _source(filesystem: pafs.FileSystem, info: pafs.FileInfo) -> Source:
    name = f"s3://{info.path}" if filesystem.type_name == "s3" else info.path
    ending = _ending(info.path)
    if ending not in FORMATS:
        raise InputError(
            f"source {name} has the unknown ending {ending!r}: use one of {', '.join(FORMATS)} (uncompressed)"
        )
    return Source(filesystem=filesystem, path=info.path, name=name, format=FORMATS[ending], bytes=info.size or 0)


def _line(problem: BaseException) -> str:
    """The first line of a library's error: pyarrow adds the C++ place on further ones."""
    return (str(problem).splitlines() or [type(problem).__name__])[0]
