"""Runs a function as N real worker processes on loopback, as Ray Train starts them, and gathers their results."""

import multiprocessing
import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

from cluster.process.ports import free_ports
from trainer.machine import peers

Result = TypeVar("Result")


def run(body: Callable[..., Result], *, workers: int, arguments: tuple[Any, ...] = ()) -> list[Result]:
    """`body(world, *arguments)` in `workers` new processes; their results by rank. `body` is a module's function."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(workers)]
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(_worker, body, rank, addresses, arguments) for rank in range(workers)]
        return [future.result(timeout=500) for future in futures]


def _worker(body: Callable[..., Result], rank: int, addresses: list[str], arguments: tuple[Any, ...]) -> Result:
    peers.introduce(rank, addresses)
    from trainer.order.world import World

    return body(World(rank, len(addresses)), *arguments)


def heeding_ctrl_c() -> None:
    """For `preexec_fn`: a process started from one that ignores Ctrl-C, as a background job does, heeds it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
