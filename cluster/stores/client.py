"""The boto3 client of this process, made on first use with standard credentials and `AWS_ENDPOINT_URL`.

A client renews the credentials of a role before they end, and yet signs with expired ones now and then: botocore 1.44
takes what a machine's metadata service gives in its last minutes to be good for 12 to 20 minutes more
(`InstanceMetadataFetcher._evaluate_expiration`), and while one thread renews them the others go on with those they
have. So whoever is refused for it asks `renewed` and tries again.

With `AWS_REQUEST_PAYER=requester`, as GDAL and others have it, its owner agrees to pay for reading buckets that ask
that of whoever reads (https://docs.aws.amazon.com/AmazonS3/latest/userguide/RequesterPaysBuckets.html).
"""

import os
import threading
import time
from dataclasses import dataclass
from typing import Any

from cluster.text.masked import masked
from trainer.errors import InputError

CONNECT_SECONDS = 5
# Between two bytes; `cluster.stores.calls` bounds a whole call.
SILENCE_SECONDS = 15
# Enough for all concurrent readers of small objects, and a few more.
CONNECTIONS = 32
PAYER = "AWS_REQUEST_PAYER"


@dataclass(frozen=True)
class _Made:
    """A client and its session, for which environment they are, and since when."""

    client: Any
    session: Any
    environment: tuple[tuple[str, str], ...]
    at: float


_lock = threading.Lock()
_made: _Made | None = None


def client() -> Any:
    """The client for the current environment: endpoint, region, profile and credentials.

    All threads share it, as boto3 allows for clients ("Multithreading or multiprocessing with clients"); a forked
    process makes its own.

    Raises:
        InputError: `AWS_ENDPOINT_URL` is not an address.
    """
    global _made
    asked = tuple(sorted((name, value) for name, value in os.environ.items() if name.startswith("AWS_")))
    with _lock:
        if _made is None or _made.environment != asked:
            _made = _make(asked)
        return _made.client


@dataclass(frozen=True)
class Signing:
    """How requests are signed: by credentials from where, whether those end and are renewed, and for which region."""

    source: str
    temporary: bool
    renews: bool
    region: str


def signing() -> Signing | None:
    """How this process signs its requests; None without credentials. No secret is in it."""
    from botocore.credentials import RefreshableCredentials

    made = client()
    assert _made is not None
    found = _made.session.get_credentials()
    if found is None:
        return None
    return Signing(
        source=found.method,
        temporary=found.token is not None,
        renews=isinstance(found, RefreshableCredentials),
        region=made.meta.region_name,
    )


def renewed(since: float) -> bool:
    """Let the next `client` look for credentials anew, as S3 has called those expired that were used after `since`.

    Returns whether there may be other ones then: those that somebody has set are final. `since` is a time of
    `time.monotonic`; a client that was made later has new ones already.
    """
    from botocore.credentials import RefreshableCredentials

    global _made
    with _lock:
        if _made is None or _made.at > since:
            return True
        session, _made = _made.session, None
    return isinstance(session.get_credentials(), RefreshableCredentials)


def _make(environment: tuple[tuple[str, str], ...]) -> _Made:
    from boto3.session import Session
    from botocore.config import Config

    config = Config(
        # Only `cluster.stores.calls` tries again: botocore's own tries would multiply with those.
        retries={"mode": "standard", "total_max_attempts": 1},
        connect_timeout=CONNECT_SECONDS,
        read_timeout=SILENCE_SECONDS,
        max_pool_connections=CONNECTIONS,
    )
    at = time.monotonic()
    try:
        # A session of its own, since boto3's default session is not safe to share between threads.
        session = Session()
        made = session.client("s3", config=config)
    except ValueError as problem:
        raise InputError(
            f"S3 cannot be used: {masked(str(problem))}; correct AWS_ENDPOINT_URL and AWS_REGION"
        ) from None
    if os.environ.get(PAYER) == "requester":
        made.meta.events.register("before-parameter-build.s3", _agree_to_pay)
    return _Made(made, session, environment, at)


def _agree_to_pay(params: dict[str, Any], model: Any, **_: Any) -> None:
    """Add the agreement to a request of a kind that can have it; botocore calls this before it builds one."""
    if model.input_shape is not None and "RequestPayer" in model.input_shape.members:
        params.setdefault("RequestPayer", "requester")


def _forget() -> None:
    """Reset in a forked child: a thread of the parent may hold the lock, and connections must not be shared."""
    global _lock, _made
    _lock, _made = threading.Lock(), None


os.register_at_fork(after_in_child=_forget)
