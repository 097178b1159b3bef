"""A head must refuse who has no token: nothing but a 401 will do."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from cluster.fleet import authentication
from cluster.fleet.authentication import require_authentication
from trainer.errors import NotReadyError


@contextmanager
def head(status: int, *, drip: threading.Event | None = None) -> Iterator[tuple[str, list[Any]]]:
    asked: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers.get("Authorization")))
            if drip is not None:
                self.wfile.write(b"HTTP/1.1 ")
                drip.wait(30)
                return
            self.send_response(status)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        if drip is not None:
            drip.set()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.slow
def test_a_401_is_fine_and_no_token_was_shown() -> None:
    with head(401) as (address, asked):
        require_authentication(address)
    assert asked == [("/api/version", None)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "said"), [(200, "RAY_AUTH_MODE=token"), (403, "403 instead of 401"), (302, "302"), (500, "500")]
)
def test_anything_else_is_refused(status: int, said: str) -> None:
    with head(status) as (address, asked), pytest.raises(NotReadyError, match=said):
        require_authentication(address)
    assert len(asked) == 1


@pytest.mark.slow
def test_silence_is_refused_by_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authentication, "SECONDS", 0.3)
    with head(200, drip=threading.Event()) as (address, _), pytest.raises(NotReadyError, match="does not answer"):
        require_authentication(address)


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "file:///etc/passwd", "127.0.0.1:8265"])
def test_what_is_no_head_is_refused(address: str) -> None:
    with pytest.raises(NotReadyError, match="does not answer"):
        require_authentication(address)
