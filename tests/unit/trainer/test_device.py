"""What a process may use: the cards that it was given, no others, and float32 that is float32."""

from types import SimpleNamespace
from typing import Any

import pytest

from cluster.lanes.surroundings import is_of_surroundings
from cluster.process.quiet import import_tensorflow
from trainer.errors import NotReadyError

pytestmark = pytest.mark.tf
LIMIT = "set_logical_device_configuration"
CARDS = [SimpleNamespace(name=f"/physical_device:GPU:{number}", device_type="GPU") for number in range(2)]


class Machine:
    """TensorFlow's configuration of a machine with cards: what was set, by name."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cards: list[Any]) -> None:
        import tensorflow as tf

        self.settings: dict[str, Any] = {}
        config, experimental = tf.config, tf.config.experimental
        monkeypatch.setattr(config, "list_physical_devices", lambda kind=None: cards)
        self._keep(monkeypatch, config, "set_visible_devices")
        self._keep(monkeypatch, config, "set_logical_device_configuration")
        self._keep(monkeypatch, config.threading, "set_intra_op_parallelism_threads")
        self._keep(monkeypatch, config.threading, "set_inter_op_parallelism_threads")
        self._keep(monkeypatch, experimental, "enable_tensor_float_32_execution")
        self._keep(monkeypatch, experimental, "set_memory_growth")
        self._keep(monkeypatch, experimental, "enable_op_determinism")

    def _keep(self, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
        monkeypatch.setattr(owner, name, lambda *values: self.settings.__setitem__(name, values))


def set_up(**options: Any) -> None:
    from trainer.machine import device

    device.set_up(**{"threads": 1, "gpus": 0, **options})


def test_who_was_given_no_card_hides_those_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, CARDS)
    set_up()
    assert machine.settings["set_visible_devices"] == ([], "GPU")
    assert "set_memory_growth" not in machine.settings


@pytest.mark.parametrize(("given", "cards"), [(1, []), (1, CARDS), (2, CARDS[:1])])
def test_another_number_of_cards_than_was_given_is_refused_before_anything_is_trained(
    monkeypatch: pytest.MonkeyPatch, given: int, cards: list[Any]
) -> None:
    Machine(monkeypatch, cards)
    with pytest.raises(NotReadyError, match=f"was given {given} GPU, but TensorFlow .* sees {len(cards)}") as caught:
        set_up(gpus=given)
    # The study ends with 3: no machine of this kind can train.
    assert is_of_surroundings(caught.value)


@pytest.mark.parametrize(("memory_bytes", "setting"), [(None, "set_memory_growth"), (3 * 2**30, LIMIT)])
def test_a_card_is_taken_as_needed_or_up_to_the_limit(
    monkeypatch: pytest.MonkeyPatch, memory_bytes: int | None, setting: str
) -> None:
    machine = Machine(monkeypatch, CARDS[:1])
    set_up(gpus=1, memory_bytes=memory_bytes)
    assert machine.settings[setting][0] is CARDS[0]
    assert "set_visible_devices" not in machine.settings
    if memory_bytes:
        assert machine.settings[setting][1][0].memory_limit == 3 * 2**10


@pytest.mark.parametrize("gpus", [0, 1])
def test_float32_is_not_rounded_to_tf32(monkeypatch: pytest.MonkeyPatch, gpus: int) -> None:
    machine = Machine(monkeypatch, CARDS[:1])
    set_up(gpus=gpus)
    assert machine.settings["enable_tensor_float_32_execution"] == (False,)


@pytest.mark.parametrize("gpus", [0, 1])
def test_on_a_card_sums_are_asked_for_in_a_fixed_order(monkeypatch: pytest.MonkeyPatch, gpus: int) -> None:
    machine = Machine(monkeypatch, CARDS[:1])
    set_up(gpus=gpus)
    assert ("enable_op_determinism" in machine.settings) is bool(gpus)


def test_a_driver_takes_no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, CARDS)
    import_tensorflow()
    assert machine.settings["set_visible_devices"] == ([], "GPU")
