"""A backend of Ray Train that introduces a lane's workers to each other (`trainer.machine.peers`).

Ray's own `TensorflowConfig` starts TensorFlow's server in each worker, which listens on every interface, and importing
it also imports TensorFlow into Train's controller: 4-5 seconds of a core for each lane, measured on two cores.
"""

from dataclasses import dataclass
from typing import Any

import ray.util
from ray.train.backend import Backend, BackendConfig

from trainer.machine import peers


@dataclass
class CollectiveConfig(BackendConfig):
    """Asks Train for workers that know each other's addresses."""

    @property
    def backend_cls(self) -> type[Backend]:
        """The backend that this class configures."""
        return _CollectiveBackend

    def to_dict(self) -> dict[str, Any]:
        """An empty dictionary: there is nothing to configure."""
        return {}


class _CollectiveBackend(Backend):
    def on_start(self, worker_group: Any, backend_config: BackendConfig) -> None:
        if len(worker_group) == 1:
            return
        addresses, secret = worker_group.execute(_listen), peers.new_secret()
        for rank in range(len(worker_group)):
            worker_group.execute_single(rank, peers.introduce, rank, addresses, secret)


def _listen() -> str:
    """Listen where Ray reaches this worker's machine, and nowhere else."""
    return peers.listen(ray.util.get_node_ip_address())
