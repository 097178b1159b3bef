"""A store behind the proxy, and calls whose time is short."""

import threading
import uuid
from collections.abc import Iterator

import pytest

from cluster.stores import bucket, calls, store_of
from cluster.stores.bucket import Bucket
from cluster.stores.client import client
from tests.support.faults import Proxy, in_front_of

BUCKET = "faults"


@pytest.fixture(scope="session")
def proxy_of_all(s3_server: str) -> Iterator[Proxy]:
    """One proxy: another address would mean another boto3 client for each test, which takes longer than the test."""
    with in_front_of(s3_server) as one:
        yield one


@pytest.fixture
def proxy(proxy_of_all: Proxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """The proxy through which everything goes that is asked of S3; after the test, no try is left."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy_of_all.address)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "fake-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "fake-secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    proxy_of_all.begin()
    yield proxy_of_all
    proxy_of_all.stopping.set()
    for thread in threading.enumerate():
        if thread.name == "s3-try":
            thread.join(timeout=30)
            assert not thread.is_alive()


@pytest.fixture
def store(proxy: Proxy) -> Bucket:
    """An empty store behind the proxy."""
    client().create_bucket(Bucket=BUCKET)
    one = store_of(f"s3://{BUCKET}/{uuid.uuid4().hex}")
    assert isinstance(one, Bucket)
    return one


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(calls, "LONGEST_PAUSE_SECONDS", 0.1)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A try that does not move is given up soon."""
    monkeypatch.setattr(calls, "PATIENCE_SECONDS", 0.5)


@pytest.fixture
def short(impatient: None, monkeypatch: pytest.MonkeyPatch) -> float:
    """The seconds of every call, which are few."""
    seconds = 1.5
    monkeypatch.setattr(bucket, "SECONDS", seconds)
    monkeypatch.setattr(bucket, "FETCH_SECONDS", seconds)
    return seconds
