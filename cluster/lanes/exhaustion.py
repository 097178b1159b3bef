"""Signs that a dead worker process ran out of memory: a line of its stderr, read on the node where it was written.

Ray reports only that a worker is gone. When a process with limited memory runs out of it inside C++ code that cannot
report this in any other way, it aborts, and its stderr is the only evidence.
"""

import os
from collections.abc import Iterable

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.lanes.station import Station
from trainer.machine import memory

# After that line a process writes a stack trace of each of its threads.
BYTES_READ = 2**22
# After that, the node is taken to be gone, or to have no process left that could read the file.
SECONDS_TO_READ = 20.0


def sign_of_exhaustion(stations: Iterable[Station]) -> str | None:
    """The line by which one of the worker processes at `stations` reported that memory ran out; None if none did.

    A process whose node is gone is not asked.
    """
    tasks = [_sign_in.options(scheduling_strategy=_at(station.node_id)).remote(station.stderr) for station in stations]
    done, late = ray.wait(tasks, num_returns=len(tasks), timeout=SECONDS_TO_READ) if tasks else ([], [])
    for task in late:
        ray.cancel(task, force=True)
    return next((sign for task in done if (sign := _got(task)) is not None), None)


def _got(task: "ray.ObjectRef[str | None]") -> str | None:
    try:
        return ray.get(task)
    except ray.exceptions.RayError:
        return None


def _at(node_id: str) -> NodeAffinitySchedulingStrategy:
    return NodeAffinitySchedulingStrategy(node_id=node_id, soft=False)


@ray.remote(num_cpus=0, max_retries=0)
def _sign_in(path: str) -> str | None:
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.path.getsize(path) - BYTES_READ))
            return memory.sign_of_exhaustion(file.read().decode(errors="replace"))
    except OSError:
        return None
