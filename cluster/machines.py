"""The machines of a study: this one with a Ray of its own, or a cluster that is joined; what they hold at most."""

import contextlib
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from cluster import ray_session
from cluster.masked import masked
from cluster.ray_session import Session
from trainer.errors import InputError, NotReadyError

if TYPE_CHECKING:
    from cluster.study.placement import Placement

SECONDS_TO_CONNECT = 5.0
# Where `ray up` leaves the autoscaler's configuration on the head; Tune knows a growing cluster by it too
# (ray.tune.execution.cluster_info). Ray's state has a call for what may come, `get_max_resources_from_cluster_config`,
# but nothing in Ray 2.60 tells the GCS: it is None with either autoscaler.
AUTOSCALER_FILE = "~/ray_bootstrap_config.yaml"


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """What there is at most, once all machines that may come have come; `grows` says that some may.

    `memory_bytes` is one machine's main memory, `fleet` a growing cluster's configuration; None where not known.
    """

    cpus: float
    gpus: float
    where: str = "this machine"
    grows: bool = False
    memory_bytes: int | None = None
    fleet: Mapping[str, Any] | None = None


def this_machine(*, with_gpus: bool) -> Capacity:
    """What this process may use of this machine. Looking for GPUs costs Ray's import, so it is asked for."""
    cpus, gpus = float(len(os.sched_getaffinity(0))), 0.0
    if with_gpus:
        ray_session.set_environment()
        from ray._private.accelerators import NvidiaGPUAcceleratorManager

        gpus = float(NvidiaGPUAcceleratorManager.get_current_node_num_accelerators())
    return Capacity(cpus=cpus, gpus=gpus, memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def cluster(address: str) -> Capacity:
    """What the Ray cluster at `address` (`auto`, or `host:port` of its head) can hold.

    Raises:
        InputError: an address of another kind.
        NotReadyError: no cluster answers there.
    """
    with joined_ray(address):
        import ray

        now = ray.cluster_resources()
    file = Path(AUTOSCALER_FILE).expanduser()
    config = yaml.safe_load(file.read_text()) if file.exists() else None
    held = {name: max(at_most(config, name) if config else 0.0, now.get(name, 0.0)) for name in ("CPU", "GPU")}
    return Capacity(cpus=held["CPU"], gpus=held["GPU"], where="the cluster", grows=config is not None, fleet=config)


def at_most(config: Mapping[str, Any], resource: str) -> float:
    """How much of a resource there is when an autoscaler of this configuration has brought all it may.

    The largest machines come first: with types of several sizes, not every mix holds as much.
    """
    types, head = config["available_node_types"], config["head_node_type"]
    amount = {name: float(one.get("resources", {}).get(resource, 0)) for name, one in types.items()}
    left, held = int(config["max_workers"]), amount.pop(head)
    for name in sorted(amount, key=lambda name: -amount[name]):
        come = min(left, int(types[name].get("max_workers", left)))
        left, held = left - come, held + come * amount[name]
    return held


@contextlib.contextmanager
def local_ray(placed: "Placement") -> Iterator[Session]:
    """A Ray of this machine alone, on loopback, with room for the study's lanes.

    Raises:
        NotReadyError: it does not start.
    """
    with ray_session.local(num_cpus=-int(-placed.cpus // 1), num_gpus=-int(-placed.gpus // 1)) as session:
        yield session


@contextlib.contextmanager
def joined_ray(address: str) -> Iterator[Session]:
    """The Ray cluster at `address`, with this process as a driver of it.

    Raises:
        InputError: an address of another kind.
        NotReadyError: no cluster answers there.
    """
    _check_address(address)
    with ray_session.joined(address) as session:
        yield session


def _check_address(address: str) -> None:
    if address == "auto":
        return
    host, separator, port = address.rpartition(":")
    if "://" in address or not separator or not host or not port.isdecimal():
        raise InputError(
            f"{masked(address)} is not the address of a cluster to join: give auto or host:port on one of its "
            "machines, or hand the study over from anywhere with `batchscope submit --address http://host:8265`"
        )
    try:
        # Ray itself tries for a minute.
        socket.create_connection((host, int(port)), timeout=SECONDS_TO_CONNECT).close()
    except (OSError, OverflowError) as problem:
        raise NotReadyError(
            f"nothing answers at {masked(address)} ({problem}): start a cluster with `ray start --head`, or "
            "look at the address"
        ) from None
