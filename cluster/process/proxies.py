"""The addresses that are never asked through a proxy: this machine's own, and a cluster's head.

A company's `http_proxy` is meant for the outside world. For a head behind a tunnel on loopback, `requests` (and so
Ray's job client) would send the cluster's token to the proxy. Everything else, S3 and EC2 too, follows the person's
settings.
"""

import os
import socket
from collections.abc import Iterable

# If both are set, Python reads the lower-case one, and gRPC knows only that one.
VARIABLES = ("no_proxy", "NO_PROXY")
LOOPBACK = ("localhost", "127.0.0.1", "127.0.0.0/8", "::1")


def go_direct(hosts: Iterable[str] = ()) -> None:
    """From now on, ask loopback, this machine's own addresses and `hosts` directly, here and in child processes."""
    setting = next((os.environ[name] for name in VARIABLES if os.environ.get(name)), "")
    given = [part.strip() for part in setting.split(",") if part.strip()]
    wanted = dict.fromkeys([*given, *LOOPBACK, *_own(), *hosts])
    for name in VARIABLES:
        os.environ[name] = ",".join(wanted)


def _own() -> list[str]:
    """This machine's name and the address by which others see it; finding them sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outward:
        try:
            outward.connect(("10.255.255.255", 1))
            return [socket.gethostname(), outward.getsockname()[0]]
        except OSError:
            return [socket.gethostname()]
