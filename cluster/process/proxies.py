"""What never goes through a proxy: this machine's own addresses, and those of a study's other workers.

A company's `http_proxy` is for the world outside. `requests` (and with it Ray's job client) would send a cluster's
token to it for a head behind a tunnel on loopback, and TensorFlow's gRPC would look for the next worker there, and
hang. Everything else, S3 and EC2 too, goes where the person's settings say.
"""

import os
import socket
from collections.abc import Iterable

# Of two that are set, Python reads the one in small letters, and gRPC knows no other.
VARIABLES = ("no_proxy", "NO_PROXY")
LOOPBACK = ("localhost", "127.0.0.1", "127.0.0.0/8", "::1")


def go_direct(hosts: Iterable[str] = ()) -> None:
    """Ask loopback, this machine's own addresses and `hosts` directly from now on, here and in processes begun here."""
    said = next((os.environ[name] for name in VARIABLES if os.environ.get(name)), "")
    kept = [part.strip() for part in said.split(",") if part.strip()]
    wanted = dict.fromkeys([*kept, *LOOPBACK, *_own(), *hosts])
    for name in VARIABLES:
        os.environ[name] = ",".join(wanted)


def _own() -> list[str]:
    """This machine's name and the address by which others see it; nothing is sent for that."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outward:
        try:
            outward.connect(("10.255.255.255", 1))
            return [socket.gethostname(), outward.getsockname()[0]]
        except OSError:
            return [socket.gethostname()]
