"""How Ray Train tells a lane's workers about each other: `TF_CONFIG`, as its own TensorFlow backend does.

Ray's `TensorflowConfig` does the same, but importing it imports TensorFlow into Train's controller too: 4-5 seconds
of a core for each lane, measured on two cores.
"""

import json
import os
from dataclasses import dataclass
from typing import Any

from ray.train._internal.utils import get_address_and_port
from ray.train.backend import Backend, BackendConfig

from cluster.process.proxies import go_direct


@dataclass
class CollectiveConfig(BackendConfig):
    """Asks Train for workers that know each other's addresses."""

    @property
    def backend_cls(self) -> type[Backend]:
        """The backend that this configures."""
        return _CollectiveBackend

    def to_dict(self) -> dict[str, Any]:
        """There is nothing to configure."""
        return {}


class _CollectiveBackend(Backend):
    def on_start(self, worker_group: Any, backend_config: BackendConfig) -> None:
        addresses = ["{}:{}".format(*pair) for pair in worker_group.execute(get_address_and_port)]
        for rank in range(len(worker_group)):
            worker_group.execute_single(rank, _introduce, addresses, rank)


def _introduce(addresses: list[str], rank: int) -> None:
    # Keras 3 does not use TF_CONFIG, and a lone worker needs none: with it, it would start a server for nobody.
    if len(addresses) > 1:
        go_direct(address.rpartition(":")[0].strip("[]") for address in addresses)
        task = {"type": "worker", "index": rank}
        os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": addresses}, "task": task})
