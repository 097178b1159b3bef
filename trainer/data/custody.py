"""Data that are opened again are those that a study was begun with: same `data_hash`, and a tokenizer that is proven.

Shards are proven by `trainer.data.shards`, one by one, as they are opened.
"""

import hashlib

from trainer.data.manifest import COPY_AGAIN, Manifest, read
from trainer.data.store import Store
from trainer.errors import DataError


def read_again(data: Store, data_hash: str) -> Manifest:
    """The manifest of the data set at `data`, where a study began with that of `data_hash`; its tokenizer is proven.

    Raises:
        DataError: other data are there now, or what is there is damaged.
    """
    manifest = read(data)
    if manifest.data_hash != data_hash:
        raise DataError(
            f"the data at {data.uri} changed: this study was begun with {data_hash[:8]}, there is "
            f"{manifest.data_hash[:8]} now: put the old data back, or give the study another name"
        )
    read_tokenizer(data, manifest)
    return manifest


def read_tokenizer(data: Store, manifest: Manifest) -> bytes | None:
    """The tokenizer of the data set at `data`, proven to be the one that its manifest names; None if it names none.

    Raises:
        DataError: it is missing or another one.
    """
    if not manifest.tokenizer_sha256:
        return None
    try:
        content = data.read("tokenizer.json")
    except FileNotFoundError:
        raise DataError(f"{data.uri}/tokenizer.json is missing: {COPY_AGAIN}") from None
    actual = hashlib.sha256(content).hexdigest()
    if actual != manifest.tokenizer_sha256:
        raise DataError(
            f"{data.uri}/tokenizer.json has sha256 {actual}, but the manifest says {manifest.tokenizer_sha256}: "
            f"{COPY_AGAIN}"
        )
    return content
