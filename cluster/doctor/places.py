"""The checks of where data lie: the store of a summary, and the disk of the cache."""

import os
import time
import uuid
from pathlib import Path

from cluster.doctor.finding import BewareError, NotHereError, Site, WrongError
from trainer.data.cache import cache_folder

BODY_BYTES = 8 * 2**20
READS, READ_BYTES = 200, 4096


def store(site: Site) -> str:
    """The summary's store writes, writes once only, reads and deletes; in S3, from this region and for long enough."""
    from cluster.stores import store_of
    from cluster.stores.bucket import Bucket

    if site.summary is None:
        raise NotHereError("no --summary was given")
    place = store_of(site.summary)
    name, body = f"doctor-{uuid.uuid4().hex}", os.urandom(BODY_BYTES)
    began = time.perf_counter()
    try:
        first = place.create(name, body)
        written = time.perf_counter()
        second = place.create(name, b"other")
        read_at = time.perf_counter()
        read = place.read(name)
        ended = time.perf_counter()
    finally:
        place.delete(name)
    if first is not None or second != body or read != body:
        raise WrongError(
            f"{place.uri} does not keep what is created first: two drivers could overwrite each other there"
        )
    speeds = [BODY_BYTES / 2**20 / seconds for seconds in (written - began, ended - read_at)]
    said = f"{place.uri}: created once, read, deleted; {speeds[0]:,.0f} MiB/s up, {speeds[1]:,.0f} down"
    return f"{said}{_signed_for(place.region())}" if isinstance(place, Bucket) else said


def _signed_for(region: str | None) -> str:
    """Where the credentials are from, for a bucket in `region`.

    Raises:
        BewareError: the bucket is elsewhere, or the credentials end and nobody renews them.
    """
    from cluster.stores.client import signing

    found = signing()
    if found is None:
        return "; without credentials"
    if region not in (None, found.region):
        raise BewareError(
            f"the bucket is in {region}, this process asks for {found.region}: each article is billed on its way; "
            "run where the data are, or set AWS_REGION"
        )
    if found.temporary and not found.renews:
        raise BewareError(
            f"the credentials ({found.source}) are temporary, and nothing renews them: a study stops when they end "
            "and resumes with others; on a fleet, machines have a role instead"
        )
    return f"; credentials: {found.source}{', renewed by themselves' if found.renews else ''}; region {found.region}"


def cache(site: Site) -> str:
    """The cache's disk has no moving parts, and reads at random quickly."""
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    kind, rate = disk_of(folder), _random_reads(folder)
    said = f"{folder} is on {kind}, {rate:,.0f} random reads a second"
    if kind.endswith("(rotating)"):
        raise BewareError(f"{said}: set BATCHSCOPE_CACHE to a folder of a solid-state disk")
    return said


def disk_of(folder: Path, sys: Path = Path("/sys")) -> str:
    """The name of the disk that a folder is on, and whether it rotates; `unknown` for one that is no block device."""
    number = os.stat(folder).st_dev
    link = sys / "dev" / "block" / f"{os.major(number)}:{os.minor(number)}"
    if not link.exists():
        return "an unknown disk"
    disk = link.resolve()
    # A partition lies in the folder of its disk.
    disk = disk.parent if (disk / "partition").exists() else disk
    rotates = (disk / "queue" / "rotational").read_text().strip() == "1"
    return f"{disk.name}{' (rotating)' if rotates else ''}"


def _random_reads(folder: Path) -> float:
    """Reads of a page a second, from a file that the system was told to forget."""
    file = folder / f".doctor-{uuid.uuid4().hex}"
    try:
        with file.open("wb") as output:
            output.write(os.urandom(BODY_BYTES))
            os.fsync(output.fileno())
            os.posix_fadvise(output.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        with file.open("rb", buffering=0) as source:
            began = time.perf_counter()
            for at in range(READS):
                source.seek((at * 7919 * READ_BYTES) % (BODY_BYTES - READ_BYTES))
                source.read(READ_BYTES)
            return READS / (time.perf_counter() - began)
    finally:
        file.unlink(missing_ok=True)
