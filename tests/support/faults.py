"""A proxy in front of an S3 server that spoils chosen requests, and counts the faults that really happened."""

import http.client
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

SLOW_DOWN = "503 SlowDown"
INTERNAL_ERROR = "500 InternalError"
LOST_REQUEST = "reset before the request is applied"
LOST_ANSWER = "reset after the request is applied"
IN_FLIGHT = "reset in the middle of the answer"
CUT_OFF = "the answer ends early, without a reset"
EMPTY = "200 with an empty body"
DRIP = "4 bytes a second"
DELAY = "an answer that comes a little later"
DENIED = "403 AccessDenied"
FAULTS = (SLOW_DOWN, INTERNAL_ERROR, LOST_REQUEST, LOST_ANSWER, IN_FLIGHT, CUT_OFF, DELAY)

ERRORS = {SLOW_DOWN: (503, "SlowDown"), INTERNAL_ERROR: (500, "InternalError"), DENIED: (403, "AccessDenied")}
SECONDS_LATE = 0.3
# Not of an answer from one hop to the next.
HOP = ("connection", "transfer-encoding", "keep-alive", "content-length", "server", "date")


@dataclass(frozen=True)
class Request:
    """One request: its number from 1 on, its method, and its path with the query."""

    number: int
    method: str
    path: str


Plan = Callable[[Request], str | None]


@dataclass
class Proxy:
    """What the tests see of it: where it is, what it shall do, and what it has done."""

    address: str
    plan: Plan = lambda request: None
    seen: list[Request] = field(default_factory=list)
    fired: Counter[str] = field(default_factory=Counter)
    stopping: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self) -> None:
        """Spoil nothing, and forget what was."""
        self.plan = lambda request: None
        self.seen, self.fired, self.stopping = [], Counter(), threading.Event()

    def spoil(self, fault: str, *, first: int = 1, times: int = 1) -> None:
        """Spoil `times` requests in a row from now on, the first one the `first` from now."""
        begin = len(self.seen) + first
        self.plan = lambda request: fault if begin <= request.number < begin + times else None

    def spoil_all(self, fault: str) -> None:
        """Spoil every request from now on."""
        self.plan = lambda request: fault


@contextmanager
def in_front_of(server: str) -> Iterator[Proxy]:
    """A proxy on loopback that asks `server`."""
    host = urlsplit(server).netloc

    class Handler(_Handler):
        upstream = host

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listener.daemon_threads = False
    listener.block_on_close = True
    listener.proxy = Proxy(f"http://127.0.0.1:{listener.server_address[1]}")  # type: ignore[attr-defined]
    thread = threading.Thread(target=listener.serve_forever, args=(0.05,), name="fault-proxy")
    thread.start()
    try:
        yield listener.proxy  # type: ignore[attr-defined]
    finally:
        listener.proxy.stopping.set()  # type: ignore[attr-defined]
        listener.shutdown()
        listener.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    """One connection for each request, so that a spoilt one spoils no other."""

    upstream: str
    protocol_version = "HTTP/1.1"

    def handle_one_request(self) -> None:
        """Read a request, ask the server unless the plan says otherwise, and answer."""
        self.raw_requestline = self.rfile.readline(65537)
        parsed = bool(self.raw_requestline) and self.parse_request()
        self.close_connection = True
        if not parsed:
            return
        proxy: Proxy = self.server.proxy  # type: ignore[attr-defined]
        with proxy.lock:
            request = Request(len(proxy.seen) + 1, self.command, self.path)
            proxy.seen.append(request)
            fault = proxy.plan(request)
            # Counted before the client has its answer, and with it looks at the count.
            proxy.fired.update([fault] if fault else [])
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if fault in ERRORS:
            status, code = ERRORS[fault]
            text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>".encode()
            self._answer(status, [("Content-Type", "application/xml")], text)
        elif fault == LOST_REQUEST:
            self._reset()
        else:
            status, headers, answer = self._ask(body)
            self._spoil(fault, status, headers, answer)

    def _spoil(self, fault: str | None, status: int, headers: list[tuple[str, str]], answer: bytes) -> None:
        stopping: threading.Event = self.server.proxy.stopping  # type: ignore[attr-defined]
        if fault == LOST_ANSWER:
            self._reset()
        elif fault in (IN_FLIGHT, CUT_OFF):
            self._answer(status, headers, answer, send=answer[: len(answer) // 2])
            if fault == IN_FLIGHT:
                self._reset()
        elif fault == EMPTY:
            self._answer(200, [], b"")
        elif fault == DRIP:
            self._answer(status, headers, answer or b" ", send=b"", drip=stopping)
        else:
            if fault == DELAY:
                time.sleep(SECONDS_LATE)
            self._answer(status, headers, answer)

    def _ask(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(self.upstream, timeout=30)
        try:
            wanted = {
                name: value for name, value in self.headers.items() if name.lower() not in ("connection", "expect")
            }
            connection.request(self.command, self.path, body, wanted)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def _answer(
        self,
        status: int,
        headers: list[tuple[str, str]],
        body: bytes,
        *,
        send: bytes | None = None,
        drip: threading.Event | None = None,
    ) -> None:
        """Answer with the length of `body`, and send it, or `send` of it, or drip it until it ends or `drip` is set."""
        try:
            self.send_response_only(status)
            for name, value in headers:
                if name.lower() not in HOP:
                    self.send_header(name, value)
            if status != 204:
                self.send_header("Content-Length", str(len(body)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body if send is None else send)
            for place in range(len(body) if drip else 0):
                self.wfile.write(body[place : place + 1])
                if drip and drip.wait(0.25):
                    break
        except OSError:
            pass  # The client has gone.

    def _reset(self) -> None:
        """End the connection by RST, as a machine that went away."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
