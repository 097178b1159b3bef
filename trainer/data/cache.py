"""The node's cache: a bounded folder of files, each made once by one process and mapped by all that ask.

Locks are the system's (flock), so a process that dies frees what it held, and who holds no lock is dead:

- `KEY.arrow` is a file of the cache. Whoever has it mapped holds a shared lock on it; it is evicted under an
  exclusive one, least recently opened first, so eviction never breaks a reader.
- `KEY.lock` is held by the one process that makes KEY, in `KEY.raw` and `KEY.new`; it says how many bytes those may
  grow to. The others wait. Without its holder it is swept away with the two.
- `cache.lock` is held for moments: to count, to evict, to reserve and to publish. What lies in the folder and what
  is reserved never exceed the bound together.
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

# What a `KEY.lock` itself takes, with the number in it.
_LOCK_BYTES = 20
_SECONDS_BETWEEN_TRIES = 0.05
_UNITS = {unit + i: base**power for i, base in (("", 1000), ("I", 1024)) for power, unit in enumerate("KMGT", 1)}


def cache_folder() -> Path:
    """Where this node keeps decoded shards: `$BATCHSCOPE_CACHE`, or `~/.cache/batchscope`."""
    return Path(os.environ.get("BATCHSCOPE_CACHE") or Path.home() / ".cache" / "batchscope").expanduser()


def parse_bytes(text: str) -> int:
    """A number of bytes, such as 20000000000, 20GB or 18.5 GiB.

    Raises:
        InputError: it is none, or less than one byte.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:([KMGT]I?)?B)?\s*", text.upper())
    amount = int(float(found[1]) * _UNITS.get(found[2], 1)) if found else 0
    if amount < 1:
        raise InputError(f"BATCHSCOPE_CACHE_BYTES is {text!r}: give a number of bytes, such as 20GB")
    return amount


@dataclass(frozen=True)
class Cache:
    """The cache in `folder`, which at most `bound` bytes may lie in; None for half of what could lie there."""

    folder: Path
    bound: int | None = None

    def open(self, key: str) -> mmap.mmap | None:
        """The file of `key`, mapped and read-only; None when there is none. It is not evicted while it is mapped."""
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
        """Be the one process that makes the file of `key`, after waiting for the one that does."""
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
        """Remove what was made of `key`, and last its lock, which the caller holds."""
        for suffix in ("raw", "new", "lock"):
            (self.folder / f"{key}.{suffix}").unlink(missing_ok=True)

    def _reserved_by_others(self, own: str) -> int:
        """The bytes that others who are making files may still take; the dead are swept."""
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
    """The right to make the file of `key`: put what it is made of in `raw`, write it to `new`, and publish."""

    cache: Cache
    key: str
    lock: IO[str]

    @property
    def raw(self) -> Path:
        """A file for what was fetched."""
        return self.cache.folder / f"{self.key}.raw"

    @property
    def new(self) -> Path:
        """The file to be published."""
        return self.cache.folder / f"{self.key}.new"

    def reserve(self, amount: int) -> None:
        """From now on `raw` and `new` may take `amount` bytes together; evicts what is in the way.

        Waits for others who are making files. Whoever waits has nothing reserved, so nobody waits for a waiter.

        Raises:
            InputError: there is no room, since what is there is in use, or the bound is too small.
        """
        while not self._reserved(amount):
            time.sleep(_SECONDS_BETWEEN_TRIES)

    def publish(self) -> mmap.mmap:
        """Make `new` the file of the key; it is mapped already, so that nobody evicts it before it is used."""
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
            f"the cache {self.cache.folder} has no room for {amount:,} bytes more: {held:,} bytes are in use, and it "
            f"may hold {bound:,}: raise BATCHSCOPE_CACHE_BYTES, or shuffle within windows, as "
            "`shuffle: {window_rows: 500000}` in the study"
        )

    def _note(self, amount: int) -> None:
        self.lock.seek(0)
        self.lock.truncate()
        self.lock.write(str(amount))
        self.lock.flush()


def _mapped(file: IO[bytes]) -> mmap.mmap:
    # The mapping has its own copy of the descriptor, and with it the lock until it is collected.
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _held(path: Path) -> IO[str]:
    """A lock file, created if need be, with its exclusive lock."""
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
    """Whether nobody uses a file of the cache; then it is gone."""
    with path.open("rb") as file:
        if unused := _try_exclusive(file):
            path.unlink()
        return unused
