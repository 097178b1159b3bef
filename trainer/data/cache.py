"""The node's cache: a bounded folder of files, each made once by one process and mapped by all that need it.

Locks are the system's (flock): a process that dies releases its locks, and a file that is not locked has no owner.
There are three kinds of files:

- `KEY.arrow` is a file of the cache. A process that has it mapped holds a shared lock on it. Eviction needs an
  exclusive lock, so it never breaks a reader; the least recently opened file goes first.
- `KEY.lock` is held by the one process that makes KEY, in `KEY.raw` and `KEY.new`, and contains the number of bytes to
  which those may grow. Others wait. If its holder is gone, it is swept away with the two files.
- `cache.lock` is held only for moments: to count, to evict, to reserve and to publish. The files in the folder and the
  reservations together never exceed the bound.
"""

import fcntl
import mmap
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from trainer.errors import InputError

# The bytes of a `KEY.lock` itself, with the number in it.
_LOCK_BYTES = 20
_SECONDS_BETWEEN_TRIES = 0.05
_UNITS = {unit + i: base**power for i, base in (("", 1000), ("I", 1024)) for power, unit in enumerate("KMGT", 1)}


def cache_folder() -> Path:
    """Where this node keeps decoded shards: `$BATCHSCOPE_CACHE`, or `~/.cache/batchscope`."""
    return Path(os.environ.get("BATCHSCOPE_CACHE") or Path.home() / ".cache" / "batchscope").expanduser()


def parse_bytes(text: str) -> int:
    """A number of bytes, such as 20000000000, 20GB or 18.5 GiB.

    Raises:
        InputError: the text is not a number of bytes, or is less than one byte.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:([KMGT]I?)?B)?\s*", text.upper())
    amount = int(float(match[1]) * _UNITS.get(match[2], 1)) if match else 0
    if amount < 1:
        raise InputError(f"BATCHSCOPE_CACHE_BYTES is {text!r}: give a number of bytes, such as 20GB")
    return amount


@dataclass(frozen=True)
class Cache:
    """The cache in `folder`, which may hold at most `bound` bytes; None for half of what there is room for."""

    folder: Path
    bound: int | None = None

    def open(self, key: str) -> mmap.mmap | None:
        """The file of `key`, mapped and read-only; None if there is none. It is not evicted while it is mapped."""
        path = self.folder / f"{key}.arrow"
        while True:
            try:
                file = path.open("rb")
            except FileNotFoundError:
                return None
            with file:
                fcntl.flock(file, fcntl.LOCK_SH)
                status = os.fstat(file.fileno())
                if status.st_nlink:
                    os.utime(file.fileno())
                    return _mapped(file) if status.st_size else None
            # It was evicted between the two calls.

    @contextmanager
    def making(self, key: str) -> Iterator["Making"]:
        """Be the only process that makes the file of `key`; wait if another is making it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = _held(self.folder / f"{key}.lock")
        try:
            yield Making(self, key, lock)
        finally:
            self._sweep(key)
            lock.close()

    @contextmanager
    def _counting(self) -> Iterator[None]:
        with _held(self.folder / "cache.lock"):
            yield

    def _sweep(self, key: str) -> None:
        """Remove the unfinished files of `key`, and last its lock, which the caller holds."""
        for suffix in ("raw", "new", "lock"):
            (self.folder / f"{key}.{suffix}").unlink(missing_ok=True)

    def _reserved_by_others(self, own: str) -> int:
        """The bytes that other processes have reserved; what dead ones left is swept."""
        total = 0
        for path in self.folder.glob("*.lock"):
            if path.stem in ("cache", own):
                continue
            try:
                file = path.open("r+")
            except FileNotFoundError:
                continue
            with file:
                if _try_exclusive(file):
                    self._sweep(path.stem)
                else:
                    total += int(file.read() or 0)
        return total

    def _bound(self, held: int) -> int:
        if self.bound is not None:
            return self.bound
        space = os.statvfs(self.folder)
        return (space.f_bavail * space.f_frsize + held) // 2


@dataclass(frozen=True)
class Making:
    """The right to make the file of `key`: fetch its source into `raw`, write it to `new`, and publish."""

    cache: Cache
    key: str
    lock: IO[str]

    @property
    def raw(self) -> Path:
        """The file for what is fetched."""
        return self.cache.folder / f"{self.key}.raw"

    @property
    def new(self) -> Path:
        """The file to be published."""
        return self.cache.folder / f"{self.key}.new"

    def reserve(self, amount: int) -> None:
        """Let `raw` and `new` take `amount` bytes together from now on; evict files if need be.

        This waits for other processes that are making files. A waiting process has nothing reserved, so nobody waits
        for it.

        Raises:
            InputError: there is no room, because the files there are in use or the bound is too small.
        """
        while not self._reserved(amount):
            time.sleep(_SECONDS_BETWEEN_TRIES)

    def publish(self) -> mmap.mmap:
        """Make `new` the file of the key and return it mapped, so that nobody evicts it before it is used."""
        with self.new.open("rb") as file, self.cache._counting():
            fcntl.flock(file, fcntl.LOCK_SH)
            os.replace(self.new, self.cache.folder / f"{self.key}.arrow")
            self._note(0)
            return _mapped(file)

    def _reserved(self, amount: int) -> bool:
        with self.cache._counting():
            self._note(0)
            others = self.cache._reserved_by_others(self.key)
            entries = sorted((path.stat().st_mtime_ns, path) for path in self.cache.folder.glob("*.arrow"))
            sizes = {path: path.stat().st_size for _, path in entries}
            held = sum(sizes.values())
            bound = self.cache._bound(held)
            for _, path in entries:
                if held + others + amount + _LOCK_BYTES > bound and _evicted(path):
                    held -= sizes[path]
            if held + others + amount + _LOCK_BYTES <= bound:
                self._note(amount + _LOCK_BYTES)
                return True
        if others:
            return False
        raise InputError(
            f"the cache {self.cache.folder} has no room for {amount:,} more bytes: {held:,} bytes are in use, and it "
            f"may hold {bound:,}: raise BATCHSCOPE_CACHE_BYTES, or shuffle within windows, with "
            "`shuffle: {window_rows: 500000}` in the study"
        )

    def _note(self, amount: int) -> None:
        self.lock.seek(0)
        self.lock.truncate()
        self.lock.write(str(amount))
        self.lock.flush()


def _mapped(file: IO[bytes]) -> mmap.mmap:
    # The mapping has its own copy of the descriptor, and so keeps the lock until it is garbage-collected.
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _held(path: Path) -> IO[str]:
    """A lock file, created if need be, exclusively locked."""
    while True:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+")
        fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return file
        # Its last holder removed it meanwhile.
        file.close()


def _try_exclusive(file: IO[str] | IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _evicted(path: Path) -> bool:
    """Delete a file of the cache unless somebody uses it; return whether it was deleted."""
    with path.open("rb") as file:
        if unused := _try_exclusive(file):
            path.unlink()
        return unused
