"""The store behind an address: a folder of this machine, or a bucket."""

import os

from cluster.stores.bucket import Bucket
from trainer.data.store import Folder, Store
from trainer.errors import InputError


def store_of(uri: str) -> Store:
    """The store at `uri`, a folder or `s3://bucket/prefix`.

    Raises:
        InputError: the address is neither, or contains credentials or options.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return Folder(os.path.abspath(os.path.expanduser(uri)))
    # boto3 would not read credentials from the address, and messages would print the secret.
    if "@" in rest or "?" in rest:
        raise InputError(
            f"an address must contain no credentials and no options ({scheme}://...): "
            "set AWS_PROFILE and AWS_ENDPOINT_URL instead"
        )
    if scheme == "file" and rest.startswith("/"):
        return Folder(os.path.abspath(rest))
    if scheme == "s3" and rest.strip("/") and not rest.startswith("/"):
        return Bucket(uri.rstrip("/"))
    raise InputError(f"{uri} is not a place that can be used: give a folder or s3://bucket/prefix")
