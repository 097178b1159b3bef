"""The sum of arrays over the workers of a lane, through connections of their own. Needs no TensorFlow.

TensorFlow's own collectives, NCCL's among them, go through a server that listens on every interface of the machine and
asks nobody for a password (https://github.com/tensorflow/tensorflow/blob/master/SECURITY.md). Here each worker listens
only at the address that the others were told, and whoever connects proves that it knows the lane's secret, without
sending it. Where each worker has a card of its own, sums go through the host's memory, which `doctor` measures.

Each worker sums a part of the array, in the order of the ranks, and sends the sum to all: so all have the same bits,
and each sends and receives twice the array, whatever the number of workers.
"""

import hmac
import os
import socket
import struct
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.machine.peers import Peers, place_of

Array = npt.NDArray[Any]
# Workers import TensorFlow before they meet, which on a busy machine takes minutes.
SECONDS_TO_MEET = 600.0
SECONDS_FOR_A_GREETING = 10.0
SECONDS_BETWEEN_TRIES = 0.05
NONCE_BYTES = 32
# A machine that vanished while nothing is on the way to it is noticed after about 30 s, otherwise by Ray. No
# TCP_USER_TIMEOUT: it would also end a connection to a worker that still computes and so takes nothing, for that long.
_ALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4}
# What fits into a connection's buffers is sent without a thread.
SMALL_BYTES = 2**16


class Exchange:
    """The connections of one worker to all others, made when it is; every worker of the lane makes its own.

    Raises:
        ConnectionError: the others were not there within SECONDS_TO_MEET.
    """

    def __init__(self, peers: Peers) -> None:
        self._rank, self._count = peers.rank, len(peers.addresses)
        deadline = time.monotonic() + SECONDS_TO_MEET
        self._others = {rank: _connected(peers, rank, deadline) for rank in range(peers.rank)}
        while len(self._others) < self._count - 1:
            rank, other = _accepted(peers, deadline)
            self._others[rank] = other
        self._senders = ThreadPoolExecutor(self._count - 1, "exchange")

    def sum(self, array: Array) -> Array:
        """The sum of the workers' arrays, which have the same shape and dtype; the same bits on all of them.

        Raises:
            ConnectionError: another worker went away.
        """
        flat = np.ascontiguousarray(array).reshape(-1)
        bounds = [len(flat) * rank // self._count for rank in range(self._count + 1)]
        parts = [flat[first:last] for first, last in pairwise(bounds)]
        mine = self._summed(parts)
        total = np.empty_like(flat)
        total[bounds[self._rank] : bounds[self._rank + 1]] = mine
        sent = [self._send(rank, mine) for rank in self._others]
        for rank, other in self._others.items():
            _receive(other, total[bounds[rank] : bounds[rank + 1]])
        _wait(sent)
        return total.reshape(array.shape)

    def _summed(self, parts: Sequence[Array]) -> Array:
        """The sum of this worker's part, for which each other worker sends its own."""
        sent = [self._send(rank, parts[rank]) for rank in self._others]
        mine = parts[self._rank]
        found = {self._rank: mine}
        for rank, other in self._others.items():
            found[rank] = np.empty_like(mine)
            _receive(other, found[rank])
        _wait(sent)
        total = found[0].copy()
        for rank in range(1, self._count):
            total += found[rank]
        return total

    def _send(self, rank: int, part: Array) -> "Future[None] | None":
        other, content = self._others[rank], part.data.cast("B") if part.size else memoryview(b"")
        if len(content) > SMALL_BYTES:
            return self._senders.submit(other.sendall, content)
        other.sendall(content)
        return None


def _wait(sent: "Sequence[Future[None] | None]") -> None:
    for one in sent:
        if one is not None:
            one.result()


def _receive(other: socket.socket, into: Array) -> None:
    """Fill an array with what the other worker sends."""
    left = into.data.cast("B") if into.size else memoryview(b"")
    while left:
        count = other.recv_into(left)
        if not count:
            raise ConnectionError("another worker of the lane went away")
        left = left[count:]


def _connected(peers: Peers, rank: int, deadline: float) -> socket.socket:
    """A connection to a worker of a lower rank, once it is there."""
    while True:
        try:
            return _tried(socket.create_connection(place_of(peers.addresses[rank]), SECONDS_FOR_A_GREETING), peers)
        except OSError as problem:
            if time.monotonic() > deadline:
                raise ConnectionError(f"worker {rank} at {peers.addresses[rank]} does not answer: {problem}") from None
            time.sleep(SECONDS_BETWEEN_TRIES)


def _tried(other: socket.socket, peers: Peers) -> socket.socket:
    """A new connection, once it is known that a worker of the lane is there, and it knows the same of this one."""
    try:
        rank, nonce = struct.pack("!I", peers.rank), os.urandom(NONCE_BYTES)
        other.sendall(rank + nonce)
        theirs = _exactly(other, NONCE_BYTES)
        _check(_exactly(other, NONCE_BYTES), peers.secret, b"accepts", nonce)
        other.sendall(_proof(peers.secret, b"connects", rank, theirs))
        return _for_good(other)
    except OSError:
        other.close()
        raise


def _accepted(peers: Peers, deadline: float) -> tuple[int, socket.socket]:
    """The next worker of a higher rank that connects, and its connection; whoever is none of them is not heard."""
    while True:
        peers.listening.settimeout(max(0.01, deadline - time.monotonic()))
        try:
            other, _ = peers.listening.accept()
        except TimeoutError:
            raise ConnectionError(f"not all workers came within {SECONDS_TO_MEET:g} s") from None
        try:
            other.settimeout(SECONDS_FOR_A_GREETING)
            rank = _exactly(other, 4)
            theirs, nonce = _exactly(other, NONCE_BYTES), os.urandom(NONCE_BYTES)
            other.sendall(nonce + _proof(peers.secret, b"accepts", theirs))
            _check(_exactly(other, NONCE_BYTES), peers.secret, b"connects", rank, nonce)
            return struct.unpack("!I", rank)[0], _for_good(other)
        except OSError:
            other.close()


def _proof(secret: bytes, *said: bytes) -> bytes:
    return hmac.digest(secret, b"".join(said), "sha256")


def _check(proof: bytes, secret: bytes, *said: bytes) -> None:
    if not hmac.compare_digest(proof, _proof(secret, *said)):
        raise ConnectionError("this is no worker of the lane")


def _exactly(other: socket.socket, count: int) -> bytes:
    found = np.empty(count, np.uint8)
    _receive(other, found)
    return found.tobytes()


def _for_good(other: socket.socket) -> socket.socket:
    """A connection without a limit on how long the other worker computes, on which nothing waits for more to send."""
    other.settimeout(None)
    other.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    other.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _ALIVE.items():
        if hasattr(socket, name):
            other.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return other
