"""Runs a function as N real worker processes on loopback, as Ray Train starts them, and gathers their results."""

import json
import multiprocessing
import os
import signal
import socket
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

Result = TypeVar("Result")


def run(body: Callable[..., Result], *, workers: int, arguments: tuple[Any, ...] = ()) -> list[Result]:
    """`body(world, *arguments)` in `workers` new processes; their results by rank. `body` is a module's function."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(workers)]
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(_worker, body, rank, addresses, arguments) for rank in range(workers)]
        return [future.result(timeout=500) for future in futures]


def _worker(body: Callable[..., Result], rank: int, addresses: list[str], arguments: tuple[Any, ...]) -> Result:
    if len(addresses) > 1:
        task = {"type": "worker", "index": rank}
        os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": addresses}, "task": task})
    from trainer.update.collective import World

    return body(World(rank, len(addresses)), *arguments)


def free_ports(count: int) -> list[int]:
    """So many ports of the loopback address on which nobody listens."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def heeding_ctrl_c() -> None:
    """For `preexec_fn`: a process started from one that ignores Ctrl-C, as a background job does, heeds it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
