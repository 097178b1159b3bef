"""Which learners a lane's worker keeps from trial to trial."""

import gc
import weakref
from types import SimpleNamespace
from typing import Any

import pytest

from cluster.lanes.learners import BYTES_EACH, KEPT_AT_LEAST, KEPT_BYTES, Learners, held_bytes

# Weights are held twice, with their sums; so large that one of them is more than may be kept.
LARGE, SMALL = KEPT_BYTES // BYTES_EACH // 2 + 1, 1000


class Learner:
    """As many weights and optimiser's variables as it is told; a cycle of references, as a real one."""

    def __init__(self, weights: int, optimizers: int = 0) -> None:
        self.model = SimpleNamespace(variables=[SimpleNamespace(shape=(weights,))])
        self.optimizer = SimpleNamespace(variables=[SimpleNamespace(shape=(optimizers, 2)), SimpleNamespace(shape=())])
        self.averages: list[Any] = []
        self.itself = self


class Made:
    """Learners whose shape is a number, of which the given ones are large; counts how often each was made."""

    def __init__(self, *large: int) -> None:
        self.made: list[Any] = []
        self._large = large
        self.learners = Learners(self._make)

    def _make(self, shape: Any) -> Any:
        self.made.append(shape)
        return Learner(LARGE if shape in self._large else SMALL)

    def ask(self, *shapes: int) -> list[int]:
        """Those of `shapes`, asked for in turn, that were made for it."""
        before = len(self.made)
        for shape in shapes:
            self.learners.of(shape)  # type: ignore[arg-type]
        return self.made[before:]


def test_every_shape_of_a_small_model_is_made_once() -> None:
    made = Made()
    every = list(range(32))
    assert made.ask(*every) == every
    assert made.ask(*every, *every) == []


@pytest.mark.slow
def test_of_large_ones_a_few_are_kept_and_those_used_longest_ago_go_first() -> None:
    made = Made(*range(10))
    few = list(range(KEPT_AT_LEAST))
    assert made.ask(*few, *few) == few
    assert made.ask(0, KEPT_AT_LEAST) == [KEPT_AT_LEAST]
    # 1 was used longest ago.
    assert made.ask(0, *few[2:]) == []
    assert made.ask(1) == [1]


@pytest.mark.slow
def test_small_ones_stay_once_the_large_one_is_gone() -> None:
    made = Made(0)
    assert made.ask(*range(12)) == list(range(12))
    assert made.ask(*range(1, 12)) == []
    assert made.ask(0) == [0]


@pytest.mark.slow
def test_one_that_is_dropped_is_gone_at_once() -> None:
    made = Made(*range(10))
    first = weakref.ref(made.learners.of(0))  # type: ignore[arg-type]
    gc.disable()
    try:
        made.ask(*range(1, KEPT_AT_LEAST + 1))
        assert first() is None
    finally:
        gc.enable()


def test_it_holds_its_weights_their_sums_and_the_optimisers_variables() -> None:
    learner: Any = Learner(weights=100, optimizers=7)
    assert held_bytes(learner) == 8 * (2 * 100 + 14 + 1)


@pytest.mark.tf
def test_so_does_a_real_one() -> None:
    from tests.parity.test_update import BAG, OUTPUTS, TRIAL, VOCABULARY, learner_of

    assert TRIAL.model == BAG
    weights = VOCABULARY * 4 + 4 * OUTPUTS + OUTPUTS
    assert held_bytes(learner_of(TRIAL)) == pytest.approx(8 * 2 * weights, abs=64)
