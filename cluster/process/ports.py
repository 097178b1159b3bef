"""Ports of this machine that are free."""

import socket
from contextlib import ExitStack


def free_ports(count: int) -> list[int]:
    """Ports of the loopback address on which nobody listens just now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
