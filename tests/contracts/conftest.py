"""Where a summary can be: a folder, and a bucket on a local server that speaks S3."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.summary import objects


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of the server, which listens on loopback only."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new bucket's name; the environment has fake credentials and the server's address."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "fake-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "fake-secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    name = f"bucket-{uuid.uuid4().hex}"
    objects._client().create_bucket(Bucket=name)
    return name


@pytest.fixture
def other_client() -> Iterator[None]:
    """For a test that makes a client in another environment: it is forgotten after the test."""
    yield
    objects._client.cache_clear()


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An address at which nothing is yet."""
    if request.param == "folder":
        return str(tmp_path / "deep" / "summary")
    return f"s3://{request.getfixturevalue('bucket')}/some/summary"
