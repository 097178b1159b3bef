"""What XLA has compiled for a processor, kept in a folder of this machine for its next processes. Needs no TensorFlow.

XLA compiles a recurrence for each shape, about a second each, and every process of a machine would compile the same
ones. It can keep what it compiled (`--tf_xla_persistent_cache_directory`): it writes the very code that it goes on to
run (`DeviceExecutablePersistor` exports the executable), under a name made of what the code computes, and loads it in
place of compiling. So the digits are the same, whether a shape was compiled or loaded.

What is loaded is run. So the folder belongs to its user, who alone can write there; a file is used only if the sum that
`seal` put beside it is that of its bytes; and there is a folder for each processor, release of TensorFlow and number of
threads, for which XLA may compile otherwise.
"""

import errno
import hashlib
import os
import platform
import shutil
import stat
import time
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from trainer.data.cache import cache_folder

FOLDER = "compiled"
# Some thousand shapes of a small model; the oldest go first.
BYTES_AT_MOST = 512 * 2**20
SECONDS_OF_A_WRITE = 600.0
# XLA fails the operation that it compiled if it cannot write the code (seen with TensorFlow 2.21). So on a disk that is
# nearly full it is not asked to.
LEAST_FREE_BYTES = 2**30
_NO_ROOM = tuple(os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS))
_FLAG = "--tf_xla_persistent_cache_directory"
_CODE, _SUM = ".pb", ".sha256"


def use(threads: int) -> Path | None:
    """Let XLA keep and load what it compiles in this process, which has not imported TensorFlow yet.

    Returns the folder, which whoever uses it must `seal` now and then; None where there can be none, and XLA compiles
    everything itself: a user has given XLA a folder already, ours cannot be private, or its disk is nearly full.
    """
    flags = os.environ.get("TF_XLA_FLAGS", "")
    folder = cache_folder() / FOLDER / _kind(threads)
    # TensorFlow takes the flags apart at spaces.
    if _FLAG in flags or any(character.isspace() for character in str(folder)):
        return None
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        for made in (folder.parent, folder):
            made.mkdir(mode=0o700, exist_ok=True)
        private = all(map(_is_private, (cache_folder(), folder.parent, folder)))
        if not private or shutil.disk_usage(folder).free < LEAST_FREE_BYTES:
            return None
        _sweep(folder)
    except OSError:
        # A full or read-only disk: the product of an hour must not depend on saving a second.
        return None
    os.environ["TF_XLA_FLAGS"] = f"{flags} {_FLAG}={folder}".strip()
    return folder


def seal(folder: Path) -> None:
    """Write the sums of what XLA has written since, and remove the oldest beyond BYTES_AT_MOST."""
    with suppress(OSError):
        for code in sorted(folder.glob(f"*{_CODE}")):
            if not _sum_of(code).exists():
                _write(_sum_of(code), _digest(code))
        _make_room(folder)


def full(problem: BaseException) -> str | None:
    """What to say of an operation that failed because XLA could not write what it compiled; None for other errors."""
    text = str(problem)
    why = next((why for why in _NO_ROOM if why in text), None)
    if why is None or f"/{FOLDER}/" not in text:
        return None
    return (
        f"{why} at {cache_folder() / FOLDER}: make room there, or set BATCHSCOPE_CACHE to another folder, and run "
        "the same command again to continue"
    )


def _kind(threads: int) -> str:
    """A name for all that XLA's code depends on besides what it computes."""
    parts = [
        _release(),
        os.environ.get("XLA_FLAGS", ""),
        f"{threads} threads on {len(os.sched_getaffinity(0))} processors",
        _processor(),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _release() -> str:
    with suppress(metadata.PackageNotFoundError):
        return metadata.version("tensorflow")
    # Under another name, as some processors' own builds have.
    return ", ".join(
        f"{one.name} {one.version}" for one in metadata.distributions() if "tensorflow" in (one.name or "")
    )


def _processor() -> str:
    """The model and features of this machine's processors."""
    names = ("vendor_id", "cpu family", "model", "model name", "stepping", "flags")
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().split("\n\n", 1)[0].splitlines()
        return "\n".join(line for line in lines if line.partition("\t")[0].partition(":")[0].strip() in names)
    return platform.processor() or platform.machine()


def _is_private(folder: Path) -> bool:
    """Whether only this user can write into a folder, which is no link to another."""
    found = folder.lstat()
    writable_by_others = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not writable_by_others


def _sweep(folder: Path) -> None:
    """Remove what has no sum or another one: its writer was killed, or its bytes are not those that were written.

    What a neighbour has written and not yet sealed goes too; it has it in memory, and others compile it again.
    """
    for other in folder.iterdir():
        # Of a process that was killed while it wrote.
        if other.suffix not in (_CODE, _SUM) and time.time() - other.lstat().st_mtime > SECONDS_OF_A_WRITE:
            other.unlink(missing_ok=True)
    for code in folder.glob(f"*{_CODE}"):
        try:
            sound = _sum_of(code).read_text() == _digest(code)
        except (OSError, ValueError):
            sound = False
        if not sound:
            _remove(code)


def _make_room(folder: Path) -> None:
    codes = sorted(folder.glob(f"*{_CODE}"), key=lambda code: code.stat().st_mtime_ns)
    room = BYTES_AT_MOST - sum(code.stat().st_size for code in codes)
    for code in codes:
        if room >= 0:
            return
        room += code.stat().st_size
        _remove(code)


def _remove(code: Path) -> None:
    code.unlink(missing_ok=True)
    _sum_of(code).unlink(missing_ok=True)


def _sum_of(code: Path) -> Path:
    return code.with_suffix(_SUM)


def _digest(code: Path) -> str:
    with code.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(path: Path, text: str) -> None:
    """All of it or nothing, whoever else writes the same."""
    partial = path.with_suffix(f".{os.getpid()}.partial")
    partial.write_text(text)
    partial.replace(path)
