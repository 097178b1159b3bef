"""How the workers of a lane find each other: the addresses at which they listen, and a secret that only they know."""

import secrets
import socket
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Peers:
    """The workers of a lane: this one's rank, where each listens (`host:port`), and what only they know."""

    rank: int
    addresses: tuple[str, ...]
    secret: bytes
    listening: socket.socket


_listening: socket.socket | None = None
_introduced: Peers | None = None


def new_secret() -> bytes:
    """A secret for the workers of one lane; whoever starts them hands it to each."""
    return secrets.token_bytes(32)


def listen(host: str) -> str:
    """Listen at a free port of an address of this machine, before anybody is told of it: the `host:port`."""
    global _listening
    _listening = _open(host, 0)
    return _name_of(_listening)


def introduce(rank: int, addresses: Sequence[str], secret: bytes) -> None:
    """Tell this process, before its collective is made, that it is worker `rank` of those at `addresses`.

    From now on it listens at its own address, unless it does already (`listen`). A lone worker has nobody to hear.
    """
    global _listening, _introduced
    if len(addresses) > 1:
        if _listening is None or _name_of(_listening) != addresses[rank]:
            _listening = _open(*place_of(addresses[rank]))
        _introduced = Peers(rank, tuple(addresses), secret, _listening)


def introduced() -> Peers:
    """The workers of this process' lane.

    Raises:
        RuntimeError: nobody introduced them.
    """
    if _introduced is None:
        raise RuntimeError("this worker was not introduced to the others of its lane")
    return _introduced


def place_of(address: str) -> tuple[str, int]:
    """`host:port`, an IPv6 host in brackets, as a pair."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _open(host: str, port: int) -> socket.socket:
    return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=64)


def _name_of(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
