"""The server: a listening socket, and uvicorn on it until Ctrl-C or SIGTERM."""

import errno
import ipaddress
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode

import uvicorn

from cluster.report.serve.app import application
from cluster.report.serve.guard import Rules, host_headers
from cluster.report.serve.patience import PatientProtocol
from cluster.report.serve.studies import Page
from cluster.summary.store import Summary
from trainer.errors import InputError, NotReadyError

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1")
# Guessing a token of this length would take longer than anybody serves.
SHORTEST_TOKEN = 16
CONNECTIONS_AT_MOST = 1000
SECONDS_TO_END = 2


@dataclass(frozen=True)
class Listening:
    """A listening socket, who is answered on it, and the address for a person to open."""

    socket: socket.socket
    rules: Rules
    url: str


def listen(host: str, port: int, token: str | None) -> Listening:
    """Listen on `port` of `host` (0: any free port); beyond loopback a token is made if none is given.

    Raises:
        InputError: there is no such host here, or the token is too short.
        NotReadyError: the port is taken, or may not be used.
    """
    if token is not None and (len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable()):
        raise InputError(f"--token: give at least {SHORTEST_TOKEN} printable ASCII characters, or leave it out")
    listening = _bound(host, port)
    address, port = listening.getsockname()[:2]
    bound = ipaddress.ip_address(address)
    if not bound.is_loopback:
        token = token or secrets.token_urlsafe(32)
    names = {*LOOPBACK_NAMES, host, address, *([] if bound.is_loopback else [socket.gethostname(), socket.getfqdn()])}
    rules = Rules(
        hosts=host_headers(names, port),
        own_addresses=bound.is_unspecified,
        token=token,
        # A browser sends a machine's cookies to every port of that machine.
        cookie=f"batchscope-{port}",
    )
    shown = socket.gethostname() if bound.is_unspecified else host
    [name] = [name for name in host_headers([shown], port) if name.endswith(f":{port}")]
    return Listening(listening, rules, f"http://{name}/" + (f"?{urlencode({'token': token})}" if token else ""))


def _bound(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (socket.gaierror, UnicodeError):
        raise InputError(f"--host {host}: no such name or address is known: 127.0.0.1 is this machine") from None
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen()
    except OSError as problem:
        found.close()
        if problem.errno == errno.EADDRNOTAVAIL:
            raise InputError(f"--host {host} is not an address of this machine: 127.0.0.1 is") from None
        reason = "is in use" if problem.errno == errno.EADDRINUSE else f"is refused ({problem.strerror})"
        raise NotReadyError(f"port {port} of {host} {reason}: choose another with --port") from None
    return found


def serve(listening: Listening, summary: Summary, *, page: Page, report: Callable[[Exception], None]) -> None:
    """Answer requests until a signal ends the server; the signal is then raised again."""
    config = uvicorn.Config(
        application(summary, listening.rules, page=page, report=report),
        log_config=None,
        access_log=False,
        server_header=False,
        # uvicorn would believe what a sender claims to be.
        proxy_headers=False,
        ws="none",
        http=PatientProtocol,
        lifespan="on",
        limit_concurrency=CONNECTIONS_AT_MOST,
        timeout_graceful_shutdown=SECONDS_TO_END,
    )
    uvicorn.Server(config).run(sockets=[listening.socket])
