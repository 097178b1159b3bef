"""The largest capacity of a study's machines: this one, or a cluster with all nodes that its autoscaler may add."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from cluster.process import ray_session
from cluster.process.ray_environment import set_environment

if TYPE_CHECKING:
    pass

SECONDS_TO_CONNECT = 5.0
# `ray up` leaves the autoscaler's configuration here on the head; Tune also recognizes a growing cluster by it
# (ray.tune.execution.cluster_info). Ray's state has a call for the maximum, `get_max_resources_from_cluster_config`,
# but nothing in Ray 2.60 informs the GCS, so it is None with either autoscaler.
AUTOSCALER_FILE = "~/ray_bootstrap_config.yaml"


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """The resources once all machines that may be added have been; `grows` is true if some may.

    `memory_bytes` is one machine's main memory, `head_bytes` that of a cluster's head, and `fleet` a growing cluster's
    configuration; None if not known.
    """

    cpus: float
    gpus: float
    where: str = "this machine"
    grows: bool = False
    memory_bytes: int | None = None
    head_bytes: int | None = None
    fleet: Mapping[str, Any] | None = None


def capacity_of(address: str | None, *, with_gpus: bool) -> Capacity:
    """The capacity of the Ray cluster at `address`, or of this machine if there is no address.

    Raises:
        InputError: the address is of another kind.
        NotReadyError: no cluster answers there.
    """
    return this_machine(with_gpus=with_gpus) if address is None else of_cluster(address)


def this_machine(*, with_gpus: bool) -> Capacity:
    """What this process may use of this machine. GPUs are looked up only on request, because that imports Ray."""
    cpus, gpus = float(len(os.sched_getaffinity(0))), 0.0
    if with_gpus:
        set_environment()
        from ray._private.accelerators import NvidiaGPUAcceleratorManager

        gpus = float(NvidiaGPUAcceleratorManager.get_current_node_num_accelerators())
    return Capacity(cpus=cpus, gpus=gpus, memory_bytes=_memory_bytes())


def of_cluster(address: str) -> Capacity:
    """The capacity of the Ray cluster at `address` (`auto`, or `host:port` of its head).

    Raises:
        InputError: the address is of another kind.
        NotReadyError: no cluster answers there.
    """
    with ray_session.joined(address):
        import ray

        now = ray.cluster_resources()
    file = Path(AUTOSCALER_FILE).expanduser()
    config = yaml.safe_load(file.read_text()) if file.exists() else None
    held = {name: max(at_most(config, name) if config else 0.0, now.get(name, 0.0)) for name in ("CPU", "GPU")}
    return Capacity(
        cpus=held["CPU"],
        gpus=held["GPU"],
        where="the cluster",
        grows=config is not None,
        # The file of the autoscaler is there on the head alone.
        head_bytes=None if config is None else _memory_bytes(),
        fleet=config,
    )


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def at_most(config: Mapping[str, Any], resource: str) -> float:
    """How much of a resource there is once an autoscaler with this configuration has added all that it may.

    The largest machines are counted first; with types of several sizes, other mixes hold less.
    """
    types, head = config["available_node_types"], config["head_node_type"]
    amount = {name: float(one.get("resources", {}).get(resource, 0)) for name, one in types.items()}
    left, held = int(config["max_workers"]), amount.pop(head)
    for name in sorted(amount, key=lambda name: -amount[name]):
        come = min(left, int(types[name].get("max_workers", left)))
        left, held = left - come, held + come * amount[name]
    return held
