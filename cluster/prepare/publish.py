"""A destination appears whole or not at all: written beside it, flushed to disk, then renamed.

On S3, where nothing can be renamed, the shards are put first and `manifest.json` last: without a manifest it is
no data set to any reader.
"""

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa
from pyarrow import fs as pafs

from trainer.errors import InputError, NotReadyError
from trainer.manifest import locate

MANIFEST = "manifest.json"


def refuse_used(dest: str) -> None:
    """Check, before any work, that nothing stands at `dest`.

    Raises:
        InputError: it holds prepared data or something else, or is no address.
        NotReadyError: its store does not answer.
    """
    try:
        filesystem, path = locate(dest)
        info = filesystem.get_file_info(path)
        entries = []
        if info.type == pafs.FileType.Directory:
            entries = filesystem.get_file_info(pafs.FileSelector(path))
    except pa.ArrowInvalid as problem:
        raise InputError(f"destination {dest} is not a path or an s3:// address: {problem}") from None
    except OSError as problem:
        raise NotReadyError(f"destination {dest} cannot be reached ({problem}): check permission and region") from None
    if info.type == pafs.FileType.File:
        raise InputError(f"destination {dest} is a file: name a folder that does not exist yet")
    if any(entry.base_name == MANIFEST for entry in entries):
        raise InputError(f"destination {dest} already holds prepared data: choose another folder or delete it")
    if entries:
        raise InputError(
            f"destination {dest} is not empty (it holds {entries[0].base_name}) and is no prepared data: choose "
            "another folder or delete it"
        )


@contextmanager
def staging(dest: str) -> Iterator[Path]:
    """A temporary folder that is published as `dest` if the block ends well, and removed if not.

    Raises:
        NotReadyError: it cannot be written (disk full, permission, store).
    """
    filesystem, path = locate(dest)
    local = isinstance(filesystem, pafs.LocalFileSystem)
    folder: Path | None = None
    try:
        folder = _beside(Path(path)) if local else Path(tempfile.mkdtemp(prefix="batchscope-prepare-"))
        yield folder
        if local:
            _rename(folder, Path(path))
        else:
            _upload(folder, filesystem, path)
    except OSError as problem:
        raise NotReadyError(
            f"destination {dest} cannot be written ({problem}): check space and permission, then run again"
        ) from problem
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _beside(dest: Path) -> Path:
    dest.parent.mkdir(parents=True, exist_ok=True)
    # Not mkdtemp: its folder would be readable by nobody else once it is renamed.
    folder = dest.parent / f".{dest.name}.{secrets.token_hex(4)}.partial"
    folder.mkdir()
    return folder


def _rename(folder: Path, dest: Path) -> None:
    for path in [*folder.iterdir(), folder]:
        _flush_to_disk(path)
    os.rename(folder, dest)
    _flush_to_disk(dest.parent)


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _upload(folder: Path, filesystem: pafs.FileSystem, path: str) -> None:
    """Put every file, the manifest last; after an error take away what was put."""
    files = sorted(folder.iterdir(), key=lambda file: (file.name == MANIFEST, file.name))
    try:
        for file in files:
            pafs.copy_files(
                str(file),
                f"{path}/{file.name}",
                source_filesystem=pafs.LocalFileSystem(),
                destination_filesystem=filesystem,
            )
    except BaseException:
        for file in files:
            with suppress(OSError):
                filesystem.delete_file(f"{path}/{file.name}")
        raise
