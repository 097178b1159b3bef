"""A fleet that is pretended: Ray's own autoscaler, its own fake machines of one CPU and one GPU each, on loopback.

`ray.cluster_utils.AutoscalingCluster` does the like, but ends every Ray of the machine (`ray stop --force`), and reads
a file that the wheel lacks. A fake machine is a raylet of its own that the autoscaler's process starts and ends.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from tests.support.processes import free_ports
from tests.support.runs import MARK, processes_of

HEAD_ID = "f" * 51 + "00000"
# Ray needs at least 75 MB a node.
OBJECT_STORE_BYTES = 80 * 1024**2
_ENVIRONMENT = {
    "RAY_FAKE_CLUSTER": "1",
    # As `ray up` has it since Ray 2.50; ids that were agreed on tell the autoscaler which raylet is which machine.
    "RAY_enable_autoscaler_v2": "1",
    "RAY_CLOUD_INSTANCE_ID": HEAD_ID,
    "RAY_NODE_TYPE_NAME": "ray.head.default",
    "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD_ID,
    "AUTOSCALER_UPDATE_INTERVAL_S": "1",
    # Its metrics' port, which is 44217 otherwise, once on each machine.
    "AUTOSCALER_METRIC_PORT": "0",
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}


class Seen:
    """A running cluster as its GCS knows it, asked without being a driver of it."""

    def __init__(self, address: str) -> None:
        from ray import _raylet
        from ray._private.state import GlobalState

        raylet: Any = _raylet
        self.address = address
        self._state: Any = GlobalState()
        self._state._initialize_global_state(
            raylet.GcsClientOptions.create(address, None, allow_cluster_id_nil=True, fetch_cluster_id_if_nil=False)
        )

    def machines(self, *, gone: bool = False) -> set[str]:
        """The ids of the machines that are up, and with `gone` of those that were; the head is none of them."""
        return {node["NodeID"] for node in self._state.node_table() if gone or node["Alive"]} - {HEAD_ID}

    def head_is_up(self) -> bool:
        """Whether the head is."""
        return any(node["Alive"] and node["NodeID"] == HEAD_ID for node in self._state.node_table())

    def left(self) -> list[str]:
        """What drivers have left behind: their jobs, their actors, their placement groups."""
        groups = self._state.placement_group_table().values()
        actors = self._state.actor_table(None, None, None).values()
        return [
            *[f"job {job['JobID']}" for job in self._state.job_table() if not job["IsDead"]],
            *[f"actor {one['ActorClassName']} {one['State']}" for one in actors if one["State"] != "DEAD"],
            *[f"placement group {one['name']} {one['state']}" for one in groups if one["state"] != "REMOVED"],
        ]

    def leave(self) -> None:
        """Ask no more: a client of a GCS that has gone away takes its process with it."""
        self._state.disconnect()


@dataclass(frozen=True)
class Fleet:
    """A head, its autoscaler and what it brings; `home` is for those who use it, as the head's own user's is."""

    seen: Seen
    home: Path

    def log_of_autoscaler(self) -> str:
        """What the autoscaler has said."""
        logs = (self.home / "session_latest" / "logs").glob("monitor.*")
        return "\n".join(file.read_text() for file in logs)


@contextlib.contextmanager
def fleet(*, most_machines: int, idle_seconds: float) -> Iterator[Fleet]:
    """A head without CPUs and an autoscaler that may bring `most_machines`, each gone after `idle_seconds`.

    All that it starts inherits the mark of the test.
    """
    port, client_port = free_ports(2)
    address = f"127.0.0.1:{port}"
    # Ray's sockets have paths of 107 characters at most.
    with tempfile.TemporaryDirectory(prefix="bs-") as folder:
        home, said = Path(folder), Path(folder, "head.log")
        (home / "ray_bootstrap_config.yaml").write_text(yaml.safe_dump(_config(address, most_machines, idle_seconds)))
        with said.open("w") as output:
            head = subprocess.Popen(
                _command(port, client_port, home),
                env={**os.environ, **_ENVIRONMENT},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            _wait_for_head(head, said)
            seen = Seen(address)
            try:
                yield Fleet(seen, home)
            finally:
                seen.leave()
        finally:
            _end(head)


def _config(address: str, most_machines: int, idle_seconds: float) -> dict[str, Any]:
    """As `ray up` would leave it on the head; see fake_multi_node/example.yaml in Ray's repository."""
    node = {"node_config": {}, "min_workers": 0}
    resources = {"CPU": 1, "GPU": 1, "object_store_memory": OBJECT_STORE_BYTES}
    return {
        "cluster_name": "fake",
        "max_workers": most_machines,
        "idle_timeout_minutes": idle_seconds / 60,
        "upscaling_speed": 1.0,
        "provider": {
            # "fake_multinode" itself reads defaults that the wheel lacks.
            "type": "external",
            "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
            "gcs_address": address,
            "head_node_id": HEAD_ID,
            "launch_multiple": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
        },
        "available_node_types": {
            "ray.head.default": {**node, "resources": {}, "max_workers": 0},
            "gpu.fake": {**node, "resources": resources, "max_workers": most_machines},
        },
        "head_node_type": "ray.head.default",
        **{key: {} for key in ("auth", "docker", "file_mounts")},
        **{key: [] for key in ("initialization_commands", "setup_commands", "cluster_synced_files")},
        **{key: [] for key in ("head_setup_commands", "worker_setup_commands")},
        **{key: [] for key in ("head_start_ray_commands", "worker_start_ray_commands")},
    }


def _command(port: int, client_port: int, home: Path) -> list[str]:
    ray = str(Path(sys.executable).with_name("ray"))
    ports = [f"--port={port}", "--min-worker-port=0", "--max-worker-port=0", f"--ray-client-server-port={client_port}"]
    size = ["--num-cpus=0", "--num-gpus=0", f"--object-store-memory={OBJECT_STORE_BYTES}"]
    place = ["--node-ip-address=127.0.0.1", f"--temp-dir={home}", "--include-dashboard=false"]
    config = f"--autoscaling-config={home}/ray_bootstrap_config.yaml"
    return [ray, "start", "--head", "--block", config, *ports, *size, *place]


def _wait_for_head(head: subprocess.Popen[bytes], said: Path) -> None:
    deadline = time.monotonic() + 180
    while "--block" not in said.read_text():
        assert head.poll() is None, said.read_text()
        assert time.monotonic() < deadline, said.read_text()
        time.sleep(0.2)


def _end(head: subprocess.Popen[bytes]) -> None:
    """The head as its user ends it; then the machines that are left, which were the autoscaler's children."""
    head.terminate()
    try:
        head.wait(timeout=60)
    except subprocess.TimeoutExpired:
        head.kill()
        head.wait()
    left = processes_of(os.environ[MARK])
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(left, timeout=30)
