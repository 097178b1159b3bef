"""An optimizer's betas and weight decay: values that give Keras' own digits, and a decay that is the example's."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")
import tensorflow as tf

from cluster.study.axes import decay_per_update
from cluster.study.rules import DecayPerExample
from tests.parity.test_update import ROWS, TRIAL, add, flat, learner_of, traced_apply, traces, train
from trainer.trial import TrialSpec
from trainer.update.update import Learner

pytestmark = pytest.mark.tf
RATE = 0.01
ADAMW = replace(TRIAL, optimizer="adamw", learning_rate=RATE)
# The fields of a trial, and what Keras' AdamW is made with for them.
ASKED: list[tuple[dict[str, float], dict[str, float]]] = [
    ({"beta1": 0.5}, {"beta_1": 0.5}),
    ({"weight_decay": 0.3}, {"weight_decay": 0.3}),
    ({}, {}),
    ({"decay_per_update": 0.002}, {"weight_decay": 0.002 / RATE}),
    ({"weight_decay": 0.0, "beta1": 0.0}, {"weight_decay": 0.0, "beta_1": 0.0}),
    ({"beta1": 0.999, "beta2": 0.9}, {"beta_1": 0.999, "beta_2": 0.9}),
    ({}, {}),
]


def ended(learner: Learner, trial: TrialSpec, options: dict[str, Any]) -> np.ndarray:
    """The weights after 20 updates, each compared with Keras' to the last bit."""
    learner.start(trial)
    variables = [keras.Variable(array, dtype=trial.dtype) for array in learner.weights()]
    plain = keras.optimizers.AdamW(RATE, **options)
    plain.build(variables)
    apply = traced_apply(plain, variables)
    for update in range(20):
        add(learner, first=update * ROWS)
        gradient = [tf.constant(array) for array in learner.gradient(global_batch=ROWS)[1]]
        add(learner, first=update * ROWS)
        learner.update(global_batch=ROWS)
        apply(gradient)
        assert flat(learner.weights()).tobytes() == flat([one.numpy() for one in variables]).tobytes(), update
    return flat(learner.weights())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_beta1_and_weight_decay_are_values_and_give_keras_own_digits(dtype: str) -> None:
    trial = replace(ADAMW, dtype=dtype)
    learner = learner_of(trial)
    train(learner, 1)
    counts = traces(learner)
    found = [ended(learner, replace(trial, **fields), options) for fields, options in ASKED]
    np.testing.assert_array_equal(found[2], found[6])
    for number, one in enumerate(found[:6]):
        assert all(np.abs(one - other).max() > 1e-4 for other in found[number + 1 : 6])
    assert traces(learner) == counts


@pytest.fixture(scope="module")
def learner() -> Learner:
    return learner_of(ADAMW)


RULE = DecayPerExample(value=0.5, at=8, rate=0.02)
EXAMPLES = 2040


@pytest.mark.parametrize(("global_batch", "rate"), [(1, 0.02), (8, 0.02), (17, 0.5), (510, 1e-3)])
def test_a_weight_without_gradient_decays_by_the_example(learner: Learner, global_batch: int, rate: float) -> None:
    decayed = decay_per_update(RULE, global_batch)
    learner.start(replace(ADAMW, global_batch=global_batch, learning_rate=rate, decay_per_update=decayed))
    before = flat(learner.weights())
    for _ in range(EXAMPLES // global_batch):
        learner.update(global_batch=global_batch)
    left = (1 - 0.01) ** (EXAMPLES / 8)
    # Keras rounds the decay and the rate to float32.
    np.testing.assert_allclose(flat(learner.weights()), before * left, rtol=1e-6)


def test_the_decay_follows_the_schedule_as_the_rate_does(learner: Learner) -> None:
    learner.start(replace(ADAMW, decay_per_update=0.1))
    before = flat(learner.weights())
    for part in (1.0, 0.5):
        learner.set_rate(part * RATE)
        learner.update(global_batch=ROWS)
    np.testing.assert_allclose(flat(learner.weights()), before * 0.9 * 0.95, rtol=1e-6)
