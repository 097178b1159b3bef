"""Credentials that expired or are not there yet: a machine is asked again; those that somebody has set are final."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cluster.stores import bucket, client
from cluster.stores.bucket import Bucket
from trainer.errors import NotReadyError

ROLE = "/latest/meta-data/iam/security-credentials/"
EXPIRED = b"<?xml version='1.0'?><Error><Code>ExpiredToken</Code><Message>no</Message></Error>"


class Amazon(ThreadingHTTPServer):
    """A metadata service and an S3, which takes the key `good` and calls all others expired."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Service)
        self.key, self.good = "FIRST", "FIRST"
        self.used: list[str] = []
        self.silent = 0

    def expire(self) -> None:
        """Let the key that everybody has end, and give another to whoever asks."""
        self.key = self.good = "SECOND"


class Service(BaseHTTPRequestHandler):
    server: Amazon

    def handle_one_request(self) -> None:
        if self.server.silent:
            self.server.silent -= 1
            self.close_connection = True
            return
        super().handle_one_request()

    def do_PUT(self) -> None:
        self.answer(200, b"the-token")

    def do_GET(self) -> None:
        if self.path == ROLE:
            self.answer(200, b"a-role")
        elif self.path.startswith(ROLE):
            soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 6 * 3600))
            key = {"AccessKeyId": self.server.key, "SecretAccessKey": "no", "Token": "no", "Expiration": soon}
            self.answer(200, json.dumps({"Code": "Success", **key}).encode())
        else:
            key = self.headers["Authorization"].split("Credential=")[1].split("/")[0]
            self.server.used.append(key)
            self.answer(200, b"articles") if key == self.server.good else self.answer(400, EXPIRED)

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def amazon(monkeypatch: pytest.MonkeyPatch) -> Iterator[Amazon]:
    """Both services, for a process on a machine with a role."""
    server = Amazon()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "false")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", address)
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_machine_whose_key_has_expired_takes_another(amazon: Amazon) -> None:
    articles = Bucket("s3://articles/prepared")
    assert articles.read("a") == b"articles"
    amazon.expire()
    assert articles.read("a") == b"articles"
    # Until the key ends, the new one is used.
    assert articles.read("a") == b"articles"
    assert amazon.used == ["FIRST", "FIRST", "SECOND", "SECOND"]


def test_a_metadata_service_that_does_not_answer_yet_is_asked_again(
    amazon: Amazon, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Twice for a token and twice without one, and a fleet's machines more often; then for another client.
    monkeypatch.setenv("AWS_METADATA_SERVICE_NUM_ATTEMPTS", "2")
    amazon.silent = 5
    assert Bucket("s3://articles/prepared").read("a") == b"articles"
    assert amazon.silent == 0


@pytest.mark.slow
def test_where_no_credentials_are_expected_nobody_waits_for_them(
    amazon: Amazon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_METADATA_SERVICE_NUM_ATTEMPTS", "1")
    amazon.silent = 5
    with pytest.raises(NotReadyError, match="credentials"):
        Bucket("s3://articles/prepared").read("a")
    assert amazon.silent == 3


def test_a_key_that_somebody_has_set_is_final_once_it_has_expired(
    amazon: Amazon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "THIRD")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "no")
    articles = Bucket("s3://articles/prepared")
    amazon.good = "THIRD"
    assert articles.read("a") == b"articles"
    amazon.expire()
    with pytest.raises(NotReadyError, match=r"\(ExpiredToken\); sign in again: the credentials have expired"):
        articles.read("a")
    assert amazon.used == ["THIRD", "THIRD"]


def test_a_role_whose_keys_stay_expired_is_signed_in_to_again(amazon: Amazon, monkeypatch: pytest.MonkeyPatch) -> None:
    articles = Bucket("s3://articles/prepared")
    # Making a client takes a second of a busy machine: it is there before the time of the call is short.
    assert articles.read("a") == b"articles"
    monkeypatch.setattr(bucket, "SECONDS", 2.0)
    amazon.good = "NONE"
    with pytest.raises(NotReadyError, match=r"(try|tries) \(the last: ExpiredToken\); sign in again: the credentials"):
        articles.read("a")


@pytest.mark.slow
def test_many_calls_that_are_refused_at_once_make_one_new_client(amazon: Amazon) -> None:
    before, began = client.client(), time.monotonic()
    assert client.renewed(began)
    after = client.client()
    assert after is not before
    # A call that began with the old client, as the first one did.
    assert client.renewed(began)
    assert client.client() is after
