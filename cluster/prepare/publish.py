"""Publishing a destination whole or not at all.

A folder is written next to its place, flushed to disk, then renamed. In a bucket, where nothing can be renamed, each
file is put when it is complete and then deleted here, so that the disk holds only the open shards. `manifest.json` is
put last: without it, no reader takes the place for a data set. Before anything else, a claim is created if there is
none, and it is deleted last: if two `prepare` write to the same place, one stops before it has put anything.
"""

import json
import os
import secrets
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from cluster.process import scratch
from cluster.stores import store_of
from trainer.data.store import Folder, Store, flush_to_disk
from trainer.errors import InputError, NotReadyError, UserError

MANIFEST = "manifest.json"
CLAIM = "being-written"


@dataclass(frozen=True)
class Staged:
    """Files are written in `folder`, and each is passed to `take` when it is complete and closed."""

    folder: Path
    take: Callable[[Path], None]


def refuse_used(dest: str) -> None:
    """Check, before any work, that there is nothing at `dest`.

    Raises:
        InputError: it holds prepared data or something else, or is not an address.
        NotReadyError: its store does not answer.
    """
    if not dest.strip():
        raise InputError("the destination is an empty text: name a folder that does not exist yet")
    store = store_of(dest)
    _refuse(dest, _entries(store.uri) if isinstance(store, Folder) else store.names())


def _refuse(dest: str, entries: Sequence[str]) -> None:
    if MANIFEST in entries:
        raise InputError(f"destination {dest} already holds prepared data: choose another folder or delete it")
    if entries:
        raise InputError(
            f"destination {dest} is not empty (it holds {entries[0]}) and is not prepared data: choose another folder "
            "or delete it"
        )


@contextmanager
def staging(dest: str) -> Iterator[Staged]:
    """Where to write files, which are published as `dest` if the block ends well, and removed if it does not.

    Raises:
        InputError: another `prepare` writes there at the same time.
        NotReadyError: `dest` cannot be written (disk full, permission, store).
    """
    store = store_of(dest)
    try:
        with _renamed(Path(store.uri)) if isinstance(store, Folder) else _put(store) as staged:
            yield staged
    except OSError as problem:
        raise NotReadyError(
            f"destination {dest} cannot be written ({problem}): check free space and permissions, then run again"
        ) from problem


def _entries(folder: str) -> list[str]:
    path = Path(folder)
    try:
        if path.is_file():
            raise InputError(f"destination {folder} is a file: name a folder that does not exist yet")
        return sorted(os.listdir(path)) if path.exists() else []
    except OSError as problem:
        raise NotReadyError(f"destination {folder} cannot be read ({problem}): check its permissions") from None


@contextmanager
def _renamed(dest: Path) -> Iterator[Staged]:
    """A folder next to `dest` that is renamed to it in the end; what a killed `prepare` left there is removed."""
    dest.parent.mkdir(parents=True, exist_ok=True)
    with scratch.folder(f".{dest.name}.partial-", str(dest.parent)) as temporary:
        # A folder in it, since nobody else could read the temporary one after its renaming.
        folder = Path(temporary) / "data"
        folder.mkdir()
        yield Staged(folder, flush_to_disk)
        flush_to_disk(folder)
        os.rename(folder, dest)
        flush_to_disk(dest.parent)


@contextmanager
def _put(store: Store) -> Iterator[Staged]:
    """A temporary folder whose files are put into a store; after an error, they are deleted there again."""
    names: list[str] = []

    def take(file: Path) -> None:
        names.append(file.name)
        store.write(file.name, file.read_bytes())
        file.unlink()

    with _claimed(store), scratch.folder("batchscope-prepare-", tempfile.gettempdir()) as folder:
        try:
            yield Staged(Path(folder), take)
        except BaseException:
            _delete(store, names)
            raise


@contextmanager
def _claimed(store: Store) -> Iterator[None]:
    """Hold the right to write there, which one process at a time can have; make sure that the place is empty."""
    own = json.dumps({"host": socket.gethostname(), "process": os.getpid(), "token": secrets.token_hex(8)}).encode()
    # Its own content is there if an earlier try of this call had succeeded.
    if store.create(CLAIM, own) not in (None, own):
        raise InputError(
            f"destination {store.uri} is being written by another `prepare`: choose another one (if that one was "
            f"killed, delete what it left there, {CLAIM} too)"
        )
    try:
        # Another `prepare` may have come and gone since the place was found empty.
        _refuse(store.uri, [name for name in store.names() if name != CLAIM])
        yield
    finally:
        _delete(store, [CLAIM])


def _delete(store: Store, names: Sequence[str]) -> None:
    """Delete what can be deleted; an error here must hide neither an earlier error nor a success."""
    for name in names:
        with suppress(UserError):
            store.delete(name)
