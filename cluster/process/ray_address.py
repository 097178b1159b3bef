"""The address of a Ray cluster to join: `auto`, or `host:port` of its head, which must answer."""

import socket

from cluster.text.masked import masked
from trainer.errors import InputError, NotReadyError

SECONDS_TO_CONNECT = 5.0


def check_answers(address: str) -> None:
    """Refuse at once an address at which no cluster can be joined; Ray itself would try for a minute.

    Raises:
        InputError: an address of another kind.
        NotReadyError: nothing answers there.
    """
    if address == "auto":
        return
    host, separator, port = address.rpartition(":")
    if "://" in address or not separator or not host or not port.isdecimal():
        raise InputError(
            f"--address {masked(address)} is not the address of a cluster to join: give auto or host:port on one of "
            "its machines; to hand over a study from elsewhere, use `batchscope submit --address http://host:8265`"
        )
    try:
        socket.create_connection((host, int(port)), timeout=SECONDS_TO_CONNECT).close()
    except (OSError, OverflowError) as problem:
        raise NotReadyError(
            f"nothing answers at --address {masked(address)} ({problem}): start a cluster with `ray start --head`, or "
            "check the address"
        ) from None
