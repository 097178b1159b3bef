"""The wheelhouse of a fleet: the files that machines install, in the fleet's bucket, so that no boot asks the index.

The head fills it, an object for each lock. A machine installs from it, or from the index where it is not there or not
what the lock says: pip compares each file with its hash, wherever it comes from. Runs with the environment's Python.
"""

import hashlib
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

PREFIX = "wheels/"
PIP = Path(sys.executable).with_name("pip")


def place_of(lock: Path, bucket: str) -> str:
    """The address of a lock's files, which are other ones for another lock or another Python."""
    what = hashlib.sha256(sys.version.encode() + lock.read_bytes()).hexdigest()
    return f"s3://{bucket}/{PREFIX}{lock.stem}-{what[:16]}.tar"


def install(bucket: str, region: str, locks: Sequence[Path]) -> int:
    """Install what the locks say, and return pip's exit code."""
    command = [str(PIP), "install", "--disable-pip-version-check", "--require-hashes"]
    requirements = [word for lock in locks for word in ("--requirement", str(lock))]
    with TemporaryDirectory(prefix="batchscope-wheels-") as folder:
        fetched = all(_fetched(place_of(lock, bucket), region, folder) for lock in locks)
        from_there = ["--no-index", "--find-links", folder]
        if fetched and subprocess.run([*command, *from_there, *requirements], check=False).returncode == 0:
            return 0
    return subprocess.run([*command, *requirements], check=False).returncode


def _fetched(place: str, region: str, folder: str) -> bool:
    """Whether the files at a place are in the folder now."""
    with (
        suppress(OSError, tarfile.TarError),
        subprocess.Popen(["aws", "s3", "cp", place, "-", "--region", region], stdout=subprocess.PIPE) as process,
        tarfile.open(fileobj=process.stdout, mode="r|") as archive,
    ):
        archive.extractall(folder, filter="data")
        return process.wait() == 0
    return False


def fill(bucket: str, region: str, locks: Sequence[Path]) -> int:
    """Put the files of each lock where machines look for them, unless they are there; returns 1 if that fails."""
    filled = [_filled(lock, place_of(lock, bucket), region) for lock in locks]
    return 0 if all(filled) else 1


def _filled(lock: Path, place: str, region: str) -> bool:
    if subprocess.run(["aws", "s3", "ls", place, "--region", region], check=False).returncode == 0:
        return True
    with TemporaryDirectory(prefix="batchscope-wheels-") as folder:
        files, packed = Path(folder, "files"), Path(folder, "packed.tar")
        files.mkdir()
        # A lock has all that its files need.
        download = [str(PIP), "download", "--disable-pip-version-check", "--require-hashes", "--no-deps"]
        command = [*download, "--dest", str(files), "--requirement", str(lock)]
        if subprocess.run(command, check=False).returncode != 0:
            return False
        with tarfile.open(packed, "w") as archive:
            archive.add(files, arcname=".")
        # One object, so that it is there whole or not at all.
        upload = ["aws", "s3", "cp", str(packed), place, "--region", region, "--only-show-errors"]
        return subprocess.run(upload, check=False).returncode == 0


def main(action: str, bucket: str, region: str, *locks: str) -> int:
    """`install` or `fill`."""
    return {"install": install, "fill": fill}[action](bucket, region, [Path(lock) for lock in locks])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
