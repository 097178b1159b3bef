"""Runs a function as N real worker processes on loopback, as Ray Train starts them, and gathers their results."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from typing import Any, TypeVar

from cluster.process.ports import free_ports
from trainer.machine import peers

Result = TypeVar("Result")
SECRET = b"of the tests' workers"


def run(body: Callable[..., Result], *, workers: int, arguments: tuple[Any, ...] = ()) -> list[Result]:
    """`body(world, *arguments)` in `workers` new processes; their results by rank. `body` is a module's function."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(workers)]
    environment = dict(os.environ)
    with ProcessPoolExecutor(workers, mp_context=_forking()) as pool:
        futures = [pool.submit(_worker, environment, body, rank, addresses, arguments) for rank in range(workers)]
        return [future.result(timeout=500) for future in futures]


@cache
def _forking() -> multiprocessing.context.BaseContext:
    """Forks from a process that has imported TensorFlow and computed nothing: 0.4 s a worker in place of 4."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["keras", "trainer.check", "trainer.loop"])
    return context


def _worker(
    environment: Mapping[str, str],
    body: Callable[..., Result],
    rank: int,
    addresses: list[str],
    arguments: tuple[Any, ...],
) -> Result:
    # The process that forks has the environment of its own start.
    os.environ.clear()
    os.environ.update(environment)
    peers.introduce(rank, addresses, SECRET)
    from trainer.order.world import World

    return body(World(rank, len(addresses)), *arguments)


def heeding_ctrl_c() -> None:
    """For `preexec_fn`: a process started from one that ignores Ctrl-C, as a background job does, heeds it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
