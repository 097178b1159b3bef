"""A lock: one driver for each study, in a summary that is a folder of this machine."""

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from trainer.errors import InputError, NotReadyError, brief

_HOLDER_CHARACTERS = 300


class Lock:
    """The lock in the open `file` at `path`, held by this process as long as that file is in its place.

    If the file was deleted, most often with its summary, another driver can lock a new one.
    """

    def __init__(self, path: Path, file: IO[str], study: str) -> None:
        self._path, self._study = path, study
        self._inode = _inode(os.fstat(file.fileno()))
        self._lost: NotReadyError | None = None

    def lost(self) -> NotReadyError | None:
        """Why the study is no longer locked; None while it is."""
        if self._lost is None and not self._is_there():
            self._lost = NotReadyError(
                f"{self._path.parent} was deleted or replaced while study {self._study!r} ran, and some of its rows "
                "with it: put back what is missing, or run the same command again to train it again"
            )
        return self._lost

    def _is_there(self) -> bool:
        try:
            return _inode(self._path.stat()) == self._inode
        except FileNotFoundError:
            return False
        except OSError:
            # A network folder that does not answer at the moment shows nothing about the lock.
            return True


@contextlib.contextmanager
def locked(summary: str, study: str) -> Iterator[Lock]:
    """Lock the study in the folder `summary` during the block.

    Raises:
        InputError: another process holds the lock.
    """
    path = Path(summary) / "attempts" / f"study={study}" / ".driver.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"study {study!r} is being run by another process ({_holder(file)}) into {summary}: wait for it, or "
                "stop it first"
            ) from None
        _write_holder(file)
        yield Lock(path, file, study)


def _write_holder(file: IO[str]) -> None:
    """Write who holds the lock, for whoever asks for it meanwhile; the lock itself does not depend on it."""
    with contextlib.suppress(OSError):
        file.truncate(0)
        file.write(f"{os.getpid()} on {socket.gethostname()}")
        file.flush()


def _holder(file: IO[str]) -> str:
    file.seek(0)
    return brief(file.read(_HOLDER_CHARACTERS)) or "which did not write its number"


def _inode(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino
