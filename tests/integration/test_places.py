"""Machines that a killed lane left reserved are free for the next one; those of a living one stay its own."""

import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from cluster.process import ray_session

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture
def three_places() -> Iterator[None]:
    """A local Ray of three CPUs."""
    with ray_session.local(num_cpus=3):
        yield


def test_the_place_of_a_dead_controller_is_free_for_the_next_lane(three_places: None) -> None:
    import ray
    from ray._private.state import state
    from ray.util.placement_group import placement_group

    from cluster.lanes.places import free_places_of_the_dead

    class Controller:
        def reserve(self) -> bool:
            self.group = placement_group([{"CPU": 1}])
            return bool(self.group.wait(30))

    def free_cpus(wanted: float) -> bool:
        deadline = time.monotonic() + 20
        while (free := ray.available_resources().get("CPU", 0.0)) != wanted and time.monotonic() < deadline:
            time.sleep(0.1)
        return bool(free == wanted)

    remote: Any = ray.remote(num_cpus=0)(Controller)
    dead, living = remote.remote(), remote.remote()
    # As Tune's for a lane.
    assert placement_group([{"CPU": 1}]).wait(30)
    assert ray.get([dead.reserve.remote(), living.reserve.remote()]) == [True, True]
    assert free_cpus(0.0)
    assert free_places_of_the_dead() == 0
    ray.kill(dead)
    deadline = time.monotonic() + 20
    while free_places_of_the_dead() != 1:
        assert time.monotonic() < deadline, state.placement_group_table()
        time.sleep(0.1)
    assert free_cpus(1.0)
    assert free_places_of_the_dead() == 0
    assert ray.get(living.reserve.remote()) is True


# Each reference is in a cycle, which only the collector releases, and it looks at every object that is made.
_RELEASING = """
import gc, threading, time
from cluster.process import ray_session

class Cycle:
    def __init__(self, reference):
        self.reference, self.itself = reference, self

def release():
    while references and not over.is_set():
        Cycle(references.pop())
        time.sleep(0.0005)

references, over = [], threading.Event()
gc.set_threshold(1, 1, 1)
with ray_session.local(num_cpus=1):
    import ray

    references += [ray.put(number) for number in range(6000)]
    threading.Thread(target=release).start()
over.set()
print("ended in order")
"""


def test_a_process_whose_ray_ends_goes_on_whatever_the_collector_finds_meanwhile() -> None:
    done = subprocess.run([sys.executable, "-c", _RELEASING], capture_output=True, text=True, timeout=200, check=False)
    assert (done.returncode, done.stdout) == (0, "ended in order\n"), done.stderr[-2000:]
