"""A process's own temporary folders: removed at the end of their block or, after a kill, when the next one is made.

Each holds a file that its process keeps locked; the system releases the lock however the process ends.
"""

import contextlib
import fcntl
import glob
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from cluster.process import signals

LOCK = ".in-use"
TRIES_TO_REMOVE = 20


@contextlib.contextmanager
def folder(prefix: str, root: str, *, end: Callable[[str], None] = lambda path: None) -> Iterator[str]:
    """A new folder in `root`; `end` is called before its removal, and again as long as something still writes there."""
    _sweep(prefix, root)

    def remove() -> None:
        for _ in range(TRIES_TO_REMOVE):
            end(path)
            shutil.rmtree(path, ignore_errors=True)
            if not os.path.exists(path):
                return
            time.sleep(0.1)

    with contextlib.ExitStack() as stack:
        # A signal may come between making the folder and whatever would remove it.
        with signals.deferred():
            path, lock = _made(prefix, root)
            stack.callback(os.close, lock)
            stack.enter_context(signals.last_thing(remove))
        yield path


def _made(prefix: str, root: str) -> tuple[str, int]:
    while True:
        path = tempfile.mkdtemp(prefix=prefix, dir=root)
        lock = os.open(os.path.join(path, LOCK), os.O_CREAT | os.O_WRONLY, 0o600)
        try:
            own = _taken(lock)
        except OSError:
            # Some shared file systems have no locks: nothing there is taken for a dead process's, and swept.
            return path, lock
        # Before the lock is taken, another process that sweeps takes this folder for that of a dead process.
        if own and os.fstat(lock).st_nlink:
            return path, lock
        os.close(lock)


def _sweep(prefix: str, root: str) -> None:
    """Remove the folders of processes that were killed."""
    for path in Path(root).glob(f"{glob.escape(prefix)}*"):
        with contextlib.suppress(OSError):
            lock = os.open(path / LOCK, os.O_WRONLY)
            try:
                if path.stat().st_uid == os.getuid() and _taken(lock):
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)


def _taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
