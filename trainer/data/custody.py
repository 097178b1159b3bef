"""Opening data again: they must be those that a study was begun with, by their `data_hash` and their tokenizer.

`trainer.data.shards` verifies the shards one by one, as they are opened.
"""

import hashlib

from trainer.data.manifest import COPY_AGAIN, Manifest, read
from trainer.data.store import Store
from trainer.errors import DataError


def read_again(data: Store, data_hash: str) -> Manifest:
    """The manifest of the data set at `data`, which must have `data_hash`; its tokenizer is verified.

    Raises:
        DataError: other data are there now, or what is there is damaged.
    """
    manifest = read(data)
    if manifest.data_hash != data_hash:
        raise DataError(
            f"the data at {data.uri} changed: this study was begun with {data_hash[:8]}, but now "
            f"{manifest.data_hash[:8]} is there: put the old data back, or give the study another name"
        )
    read_tokenizer(data, manifest)
    return manifest


def read_tokenizer(data: Store, manifest: Manifest) -> bytes | None:
    """The tokenizer of the data set at `data`, verified against its manifest; None if that names no tokenizer.

    Raises:
        DataError: the tokenizer is missing or is another one.
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
