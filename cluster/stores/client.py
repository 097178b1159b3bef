"""The boto3 client of this process: standard credentials, `AWS_ENDPOINT_URL` honoured, made when it is first needed."""

import os
import threading
from typing import Any

from cluster.text.masked import masked
from trainer.errors import InputError

CONNECT_SECONDS = 5
# Between two bytes. A whole call has its own end, in `cluster.stores.calls`.
SILENCE_SECONDS = 15
# As many readers of small objects as there are at once, and a few.
CONNECTIONS = 32

Environment = tuple[tuple[str, str], ...]
_lock = threading.Lock()
_made: tuple[Environment, Any] | None = None


def client() -> Any:
    """The client for what the environment says now: endpoint, region, profile and credentials.

    Shared by all threads, as boto3 documents for clients ("Multithreading or multiprocessing with clients"), and
    made anew in a process that was forked.

    Raises:
        InputError: `AWS_ENDPOINT_URL` is no address.
    """
    global _made
    asked = tuple(sorted((name, value) for name, value in os.environ.items() if name.startswith("AWS_")))
    with _lock:
        if _made is None or _made[0] != asked:
            _made = (asked, _make())
        return _made[1]


def _make() -> Any:
    from boto3.session import Session
    from botocore.config import Config

    config = Config(
        # Tries are counted in one place, `cluster.stores.calls`: botocore's own would multiply with them.
        retries={"mode": "standard", "total_max_attempts": 1},
        connect_timeout=CONNECT_SECONDS,
        read_timeout=SILENCE_SECONDS,
        max_pool_connections=CONNECTIONS,
    )
    try:
        # A session of our own: boto3's default one is not safe to share between threads.
        return Session().client("s3", config=config)
    except ValueError as problem:
        raise InputError(
            f"S3 cannot be used: {masked(str(problem))}; correct AWS_ENDPOINT_URL and AWS_REGION"
        ) from None


def _forget() -> None:
    """In a forked child: another thread of the parent may have held the lock, and connections are not to be shared."""
    global _lock, _made
    _lock, _made = threading.Lock(), None


os.register_at_fork(after_in_child=_forget)
