"""The meter of a fleet: looks at its machines again and again, and adds up what they cost (`cluster.fleet.bill`)."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from cluster.fleet import bill, machines, status
from cluster.fleet.bill import Life
from cluster.fleet.machines import BILLING, Machine
from trainer.errors import NotReadyError

# A machine's end is known to half of this. One that may not join its fleet lives for about 20 s, and others follow it.
SECONDS_BETWEEN_LOOKS = 3.0
PREFIX = "batchscope-"


class Meter:
    """Adds up what the machines of a fleet cost from now on, the head included.

    `look` returns the fleet's machines with their prices; `clock` the Unix time.
    """

    def __init__(
        self, look: Callable[[], Sequence[Machine]], *, disk_gb: float, clock: Callable[[], float] = time.time
    ):
        self._look, self._disk_gb, self._clock = look, disk_gb, clock
        self._lives: dict[str, Life] = {}
        self._since = self._last = clock()

    def look(self) -> None:
        """Look once; where AWS does not answer, whoever lived goes on living."""
        with contextlib.suppress(NotReadyError):
            found = self._look()
            alive = {
                one.instance_id: Life(one.usd_per_hour, one.launched_at.timestamp())
                for one in found
                if one.state in BILLING
            }
            now = self._clock()
            self._lives, self._last = bill.after_look(self._lives, alive, last=self._last, now=now), now

    def usd(self) -> float | None:
        """What the fleet has cost since the meter began; None if the price of a machine is unknown."""
        return bill.usd(self._lives.values(), since=self._since, now=self._clock(), disk_gb=self._disk_gb)


def meter_of(config: Mapping[str, Any] | None) -> Meter | None:
    """The meter of the fleet that `batchscope fleet` started with this configuration; None for another cluster."""
    name = str((config or {}).get("cluster_name", ""))
    if config is None or not name.startswith(PREFIX) or "offers" not in config.get("provider", {}):
        return None
    region, fleet = config["provider"]["region"], name.removeprefix(PREFIX)
    head = config["available_node_types"][config["head_node_type"]]["node_config"]
    disk_gb = sum(disk["Ebs"]["VolumeSize"] for disk in head["BlockDeviceMappings"])
    return Meter(lambda: status.priced(machines.alive(fleet, region), region), disk_gb=disk_gb)


@contextlib.contextmanager
def running(meter: Meter | None) -> Iterator[None]:
    """Let the meter look in a thread of its own as long as the block lasts."""
    if meter is None:
        yield
        return
    over = threading.Event()

    def look_on() -> None:
        while True:
            meter.look()
            if over.wait(SECONDS_BETWEEN_LOOKS):
                return

    thread = threading.Thread(target=look_on, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
