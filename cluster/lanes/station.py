"""Where a worker runs: its node, what prices that node, and when the worker became ready."""

import time
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Station:
    """Where a worker runs. `cpus` and `gpus` are those of the whole node; `refused` as in `prices.Instance`.

    `ready_at` is the Unix time at which its process was ready, and `stderr` the file on the node with its stderr.
    """

    node_id: str
    node_type: str
    market: str
    region: str
    cpus: float
    gpus: float
    ready_at: float
    stderr: str = ""
    refused: str = ""


def this_station() -> Station:
    """The station of the Ray worker process that calls this."""
    import ray
    from ray._private.state import state
    from ray._private.worker import global_worker

    from cluster.prices.instance import this_instance

    # `ray.nodes` is this function; neither has types.
    table: list[dict[str, Any]] = state.node_table()
    node_id = ray.get_runtime_context().get_node_id()
    [resources] = [node["Resources"] for node in table if node["NodeID"] == node_id]
    instance = this_instance()
    return Station(
        node_id=node_id,
        node_type=instance.instance_type,
        market=instance.market,
        region=instance.region,
        cpus=resources.get("CPU", 0.0),
        gpus=resources.get("GPU", 0.0),
        ready_at=time.time(),
        stderr=global_worker.get_err_file_path(),
        refused=instance.refused,
    )
