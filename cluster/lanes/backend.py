"""A backend of Ray Train that introduces a lane's workers to each other through `TF_CONFIG`.

Ray's own `TensorflowConfig` does the same, but importing it also imports TensorFlow into Train's controller: 4-5
seconds of a core for each lane, measured on two cores.
"""

from dataclasses import dataclass
from typing import Any

from ray.train._internal.utils import get_address_and_port
from ray.train.backend import Backend, BackendConfig

from cluster.process.proxies import go_direct
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
        addresses = ["{}:{}".format(*pair) for pair in worker_group.execute(get_address_and_port)]
        for rank in range(len(worker_group)):
            worker_group.execute_single(rank, _introduce, addresses, rank)


def _introduce(addresses: list[str], rank: int) -> None:
    if len(addresses) > 1:
        go_direct(address.rpartition(":")[0].strip("[]") for address in addresses)
    peers.introduce(rank, addresses)
