"""A Ray cluster of several nodes on this machine, each an own raylet: to the head, one that is killed has gone away."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil


class Machines:
    """A Ray cluster of a head without CPUs and some nodes of one CPU each, on loopback."""

    def __init__(self, count: int) -> None:
        from ray.cluster_utils import Cluster

        self.cluster = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 0, "node_ip_address": "127.0.0.1", "include_dashboard": False},
        )
        self.nodes = [self.add() for _ in range(count)]

    @property
    def address(self) -> str:
        """The head's, for `--address`."""
        return str(self.cluster.address)

    def add(self) -> Any:
        """One more node."""
        return self.cluster.add_node(num_cpus=1, node_ip_address="127.0.0.1")

    def kill(self, *nodes: Any) -> None:
        """At once, raylet and workers: as when the power goes."""
        processes = [psutil.Process(node.all_processes["raylet"][0].process.pid) for node in nodes]
        family = [one for raylet in processes for one in (raylet, *raylet.children(recursive=True))]
        for process in family:
            process.kill()
        for node in nodes:
            self.cluster.remove_node(node, allow_graceful=False)

    def drain(self, node: Any) -> None:
        """What the watcher of a spot machine does when EC2 calls it back."""
        command = [str(Path(sys.executable).with_name("ray")), "drain-node", "--address", self.cluster.address]
        reason = ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot"]
        left = ["--deadline-remaining-seconds", "120", "--node-id", node.node_id]
        subprocess.run([*command, *reason, *left], check=True, capture_output=True, timeout=60)
