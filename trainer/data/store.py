"""Stores of whole objects: a folder of this machine, or anything else that implements this protocol.

Everything that a trial reads and writes goes through a `Store`: shards, manifest, checkpoints. `Folder` is here; S3 is
in `cluster.stores`, because the trainer does not know boto3. Every call is bounded in time, and raises a UserError that
names the place if the store cannot be used.
"""

import contextlib
import errno
import os
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from trainer.errors import InputError, NotReadyError, UserError

UNFINISHED = ".partial"


class Store(Protocol):
    """Named objects at one address. Names are relative and may have slashes; an object is seen whole or not at all."""

    @property
    def uri(self) -> str:
        """The address, as a person gave it and as errors name it."""

    def read(self, name: str) -> bytes:
        """The content of an object.

        Raises:
            FileNotFoundError: there is none of this name.
        """

    def fetch(self, name: str, target: Path) -> None:
        """Copy an object to the local file `target`, which must not be used before this returns.

        Raises:
            FileNotFoundError: there is none of this name.
        """

    def write(self, name: str, content: bytes) -> None:
        """Publish an object at once, and replace one of this name."""

    def create(self, name: str, content: bytes) -> bytes | None:
        """Publish an object at once if there is none of this name; if several callers try, one succeeds.

        Returns:
            None if the object was published, else what is there. That can be `content`, if an earlier try of this call
            succeeded and its answer was lost.
        """

    def names(self, prefix: str = "") -> list[str]:
        """The names of all objects that begin with `prefix`, sorted."""

    def sizes(self, prefix: str = "") -> dict[str, int]:
        """The bytes of each object whose name begins with `prefix`."""

    def versions(self, prefix: str = "") -> dict[str, str]:
        """A mark of each object whose name begins with `prefix`; another mark means another content."""

    def delete(self, name: str) -> None:
        """Delete an object; it is no error if there is none."""

    def sweep(self) -> None:
        """Delete what killed writers left behind, in a store to which nobody is writing."""

    def within(self, name: str) -> "Store":
        """The store at `name` in this one."""


@dataclass(frozen=True)
class Folder:
    """The store in the folder `uri`, created by the first `write`. Names that begin with a dot are not objects.

    Every call can raise NotReadyError if a file cannot be read, and InputError if one cannot be written.
    """

    uri: str

    def read(self, name: str) -> bytes:
        """The content of a file."""
        path = self._file(name)
        with _reading(path), open(_regular(path), "rb") as file:
            return file.read()

    def fetch(self, name: str, target: Path) -> None:
        """Copy a file."""
        path = self._file(name)
        with _reading(path):
            shutil.copyfile(path, target)

    def write(self, name: str, content: bytes) -> None:
        """Write a temporary file next to its place, flush it to disk, and rename it."""
        self._publish(name, content, os.replace)

    def create(self, name: str, content: bytes) -> bytes | None:
        """Write a temporary file next to its place, flush it to disk, and link it unless the name is taken."""
        try:
            self._publish(name, content, os.link)
        except FileExistsError:
            return self.read(name)
        return None

    def names(self, prefix: str = "") -> list[str]:
        """The files below this folder whose names begin with `prefix`."""
        return sorted(self._names(prefix))

    def sizes(self, prefix: str = "") -> dict[str, int]:
        """The bytes of the files below this folder whose names begin with `prefix`."""
        return {name: found.st_size for name, found in self._found(prefix).items()}

    def versions(self, prefix: str = "") -> dict[str, str]:
        """When the files below this folder whose names begin with `prefix` were written, and their bytes."""
        return {name: f"{found.st_mtime_ns}-{found.st_size}" for name, found in self._found(prefix).items()}

    def _found(self, prefix: str) -> dict[str, os.stat_result]:
        found: dict[str, os.stat_result] = {}
        for name in self._names(prefix):
            path = Path(self.uri, name)
            # It may be deleted meanwhile.
            with _reading(path), contextlib.suppress(FileNotFoundError):
                found[name] = path.stat()
        return found

    def _names(self, prefix: str) -> list[str]:
        root = Path(self.uri)
        # Only the folder that the prefix names: a summary holds the checkpoints of all its trials as well.
        top = root / prefix.rpartition("/")[0]
        found: list[str] = []
        with _reading(top):
            for folder, _, files in os.walk(top, onerror=_raise_unless_gone):
                place = Path(folder).relative_to(root).as_posix()
                here = "" if place == "." else f"{place}/"
                found += [
                    name for file in files if not file.startswith(".") and (name := here + file).startswith(prefix)
                ]
        return found

    def delete(self, name: str) -> None:
        """Delete a file."""
        with _writing(self.uri, "deleting a file"):
            (Path(self.uri) / name).unlink(missing_ok=True)

    def sweep(self) -> None:
        """Delete files that were never finished, in this folder and not below."""
        with _writing(self.uri, "deleting a file"):
            for path in Path(self.uri).glob(f".*{UNFINISHED}"):
                path.unlink(missing_ok=True)

    def within(self, name: str) -> "Folder":
        """The store in a folder of this one."""
        return Folder(os.path.join(self.uri, name))

    def _file(self, name: str) -> Path:
        path = Path(self.uri) / name
        with _reading(path):
            # Anything else that is not a file, such as a pipe, is refused when it is read.
            if path.is_dir() or not path.exists():
                raise FileNotFoundError(f"{path} is not there")
        return path

    def _publish(self, name: str, content: bytes, place: Callable[[Path, Path], None]) -> None:
        path = Path(self.uri) / name
        temporary = path.parent / f".{uuid.uuid4().hex}{UNFINISHED}"
        with _writing(self.uri, "creating the folder"):
            _make(path.parent)
        with _writing(self.uri, "writing a file"):
            try:
                with temporary.open("xb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                place(temporary, path)
            except FileExistsError:
                if path.is_file():
                    raise
                raise IsADirectoryError(errno.EISDIR, f"{path} is not a file") from None
            finally:
                temporary.unlink(missing_ok=True)
            flush_to_disk(path.parent)


def _regular(path: Path) -> int:
    """Open a file for reading, but refuse a pipe or a device, on which a reader could wait for ever."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return descriptor


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn the system's error into a NotReadyError if `path` cannot be read."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as problem:
        reason = problem.strerror or str(problem)
        raise NotReadyError(f"cannot read {problem.filename or path} ({reason}): check its permissions") from None


@contextlib.contextmanager
def _writing(folder: str, action: str) -> Iterator[None]:
    """Turn the system's error into an InputError if `action` fails; the caller handles a name that is taken."""
    try:
        yield
    except OSError as problem:
        if isinstance(problem, FileExistsError) and action == "writing a file":
            raise
        raise _refused(folder, action, problem) from None


def _refused(folder: str, action: str, problem: OSError) -> UserError:
    reason = problem.strerror or str(problem)
    remedy = "choose another place, or change its permissions"
    if problem.errno in (errno.ENOSPC, errno.EDQUOT):
        remedy = "make room there, or choose another place"
    return InputError(f"cannot write in {folder}: {action} was refused ({reason}); {remedy}")


def _make(folder: Path) -> None:
    """Create a folder and its parents, each on disk before this returns."""
    if folder.is_dir():
        return
    _make(folder.parent)
    folder.mkdir(exist_ok=True)
    flush_to_disk(folder.parent)


def _raise_unless_gone(problem: OSError) -> None:
    if not isinstance(problem, FileNotFoundError):
        raise problem


def flush_to_disk(path: Path) -> None:
    """Return once the content of a file, or the names in a folder, would survive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
