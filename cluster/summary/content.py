"""The bytes of an object of the summary, from its store or as this machine read them before.

Objects that were read from a bucket are kept on this machine under their name and version, so that reading a large
summary again costs one listing.
"""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from cluster.stores.bucket import Bucket
from cluster.summary.encoding import MAGIC, DamagedError, is_sealed
from trainer.data.cache import cache_folder
from trainer.data.store import Store
from trainer.errors import NotReadyError


def content_of(store: Store, name: str) -> bytes:
    """The bytes of an object.

    Raises:
        DamagedError: it is in a folder, and is not a file or not one that this user may read.
        FileNotFoundError: there is no object of this name.
        NotReadyError: the bucket cannot be used.
    """
    try:
        return store.read(name)
    except NotReadyError:
        if isinstance(store, Bucket):
            raise
        raise DamagedError("it cannot be read: check its permissions, and that it is a regular file") from None


def kept_content(store: Bucket, versions: Mapping[str, str], name: str) -> bytes:
    """The bytes of a Parquet object, from this machine if it has read this version before."""
    kept = cache_folder() / "summary" / _digest(store.uri) / _digest(f"{name} {versions[name]}")
    with contextlib.suppress(OSError, DamagedError):
        content = kept.read_bytes()
        # It was not flushed to disk when it was written, so it can be empty after a loss of power.
        if is_sealed(content) or (len(content) > len(MAGIC) and content[-len(MAGIC) :] == MAGIC):
            return content
    content = store.read(name)
    with contextlib.suppress(OSError):
        _keep(kept, content)
    return content


def _keep(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".")
    try:
        with open(handle, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
