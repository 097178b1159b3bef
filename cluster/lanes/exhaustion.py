"""What worker processes that died said of memory: a line of what each wrote on stderr, read where it was written.

Ray tells only that a worker is gone. A process whose memory is limited ends by abort where C++ code has no other way
to say that there was none left, and then its stderr is all that tells so.
"""

import os
from collections.abc import Iterable

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.lanes.station import Station
from trainer.machine import memory

# After its last words a process writes where each of its threads was.
BYTES_READ = 2**22
# A node that has gone away, or has no process left to read with, has nothing to say.
SECONDS_TO_READ = 20.0


def sign_of_exhaustion(stations: Iterable[Station]) -> str | None:
    """The line by which a worker process of those at `stations` said that memory ran out, if one did.

    As far as their nodes are there.
    """
    asked = [_sign_in.options(scheduling_strategy=_at(one.node_id)).remote(one.stderr) for one in stations]
    heard, late = ray.wait(asked, num_returns=len(asked), timeout=SECONDS_TO_READ) if asked else ([], [])
    for task in late:
        ray.cancel(task, force=True)
    return next((sign for task in heard if (sign := _got(task)) is not None), None)


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
