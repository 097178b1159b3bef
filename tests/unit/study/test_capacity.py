"""What a cluster can hold: with an autoscaler all that it may bring, and which addresses can be joined."""

from typing import Any

import pytest

from cluster.study import capacity
from trainer.errors import InputError, NotReadyError


def config(most: int, **types: dict[str, Any]) -> dict[str, Any]:
    head = {"resources": {"CPU": 0, "head": 1000}, "max_workers": 0}
    return {"max_workers": most, "head_node_type": "head", "available_node_types": {"head": head, **types}}


def test_an_autoscaler_may_bring_its_largest_machines_up_to_its_bounds() -> None:
    small = {"resources": {"CPU": 4, "GPU": 1}, "max_workers": 8}
    large = {"resources": {"CPU": 16, "GPU": 4}, "max_workers": 2}
    assert capacity.at_most(config(3, small=small), "GPU") == 3
    assert capacity.at_most(config(20, small=small), "GPU") == 8
    assert capacity.at_most(config(5, small=small, large=large), "GPU") == 2 * 4 + 3
    assert capacity.at_most(config(5, small=small, large=large), "CPU") == 2 * 16 + 3 * 4
    assert capacity.at_most(config(5, small=small), "TPU") == 0
    assert capacity.at_most(config(0, small=small), "GPU") == 0


@pytest.mark.parametrize("address", ["ray://127.0.0.1:10001", "http://127.0.0.1:8265", "here", "127.0.0.1:", ":6379"])
def test_an_address_of_another_kind_is_refused_with_the_command_for_it(address: str) -> None:
    with pytest.raises(InputError, match="batchscope submit"):
        capacity.of_cluster(address)


def test_an_address_where_nothing_answers_is_said_at_once() -> None:
    with pytest.raises(NotReadyError, match=r"nothing answers at --address 127.0.0.1:1 .*ray start --head"):
        capacity.of_cluster("127.0.0.1:1")
