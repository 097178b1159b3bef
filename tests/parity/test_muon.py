"""Muon: which weights it turns, and how, by NumPy's own arithmetic; and the same on any cut of a batch."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from tests.parity.test_update import OUTPUTS, ROWS, TRIAL, VOCABULARY, add, learner_of
from trainer.model import model
from trainer.trial import ModelSpec

pytestmark = pytest.mark.tf
RATE = 0.01
MUON = replace(TRIAL, optimizer="muon", learning_rate=RATE)


def stacked(vocabulary_size: int, outputs: int) -> keras.Model:
    """Two dense layers and a softmax of its own, behind which the output layer stands."""
    tokens = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(vocabulary_size, 4, mask_zero=True, name="words")(tokens)
    x = keras.layers.GlobalAveragePooling1D()(x)
    x = keras.layers.Dense(6, name="inner_too")(x)
    return keras.Model(tokens, keras.layers.Softmax()(keras.layers.Dense(outputs, name="inner")(x)))


MODELS = {
    "lstm": (
        ModelSpec(embedding_units=3, lstm_units=2, bidirectional=True),
        {
            f"bidirectional_0/{way}_lstm_0/lstm_cell/{kernel}"
            for way in ("forward", "backward")
            for kernel in ("kernel", "recurrent_kernel")
        },
    ),
    "stacked": (ModelSpec(factory="tests.parity.test_muon:stacked"), {"inner_too/kernel"}),
}


def newton_schulz(matrix: np.ndarray) -> np.ndarray:
    """Keller Jordan's quintic iteration: of a matrix' singular values, all near 1."""
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / (np.linalg.norm(x) + 1e-7)
    for _ in range(5):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


def turned(weight: np.ndarray, gradients: list[np.ndarray]) -> np.ndarray:
    """A matrix after one update a gradient."""
    momentum = np.zeros_like(weight)
    for gradient in gradients:
        weight = weight * (1 - RATE * 0.004)
        momentum = 0.95 * momentum + gradient
        ahead = gradient + 0.95 * momentum
        weight = weight - RATE * 0.2 * np.sqrt(max(weight.shape)) * newton_schulz(ahead)
    return weight


def by_adamw(weight: np.ndarray, gradients: list[np.ndarray]) -> np.ndarray:
    momentum, velocity = np.zeros_like(weight), np.zeros_like(weight)
    for update, gradient in enumerate(gradients, 1):
        weight = weight * (1 - RATE * 0.004)
        momentum = 0.9 * momentum + 0.1 * gradient
        velocity = 0.999 * velocity + 0.001 * gradient**2
        step = momentum / (1 - 0.9**update) * np.sqrt(1 - 0.999**update)
        weight = weight - RATE * step / (np.sqrt(velocity) + 1e-7)
    return weight


@pytest.mark.parametrize("name", MODELS)
def test_it_turns_the_matrices_between_the_embedding_and_the_output_layer_and_leaves_the_rest_to_adamw(
    name: str,
) -> None:
    spec, matrices = MODELS[name]
    learner = learner_of(replace(MUON, model=spec))
    start, gradients = learner.weights(), []
    for update in range(3):
        add(learner, first=update * ROWS)
        gradients.append(learner.gradient(global_batch=ROWS)[1])
        add(learner, first=update * ROWS)
        learner.update(global_batch=ROWS)
    paths = [variable.path for variable in learner.model.trainable_variables]
    assert matrices < set(paths)
    rules: dict[str, Callable[..., Any]] = {path: turned if path in matrices else by_adamw for path in paths}
    for place, path in enumerate(paths):
        expected = rules[path](start[place], [one[place] for one in gradients])
        # Keras rounds its constants to float32.
        apart = np.linalg.norm(learner.weights()[place] - expected) / np.linalg.norm(expected - start[place])
        assert apart < 1e-5, path


def test_its_decay_is_one_for_all_weights() -> None:
    learner = learner_of(replace(MUON, model=MODELS["stacked"][0], weight_decay=20.0))
    before = learner.weights()
    learner.update(global_batch=ROWS)
    for weight, old in zip(learner.weights(), before, strict=True):
        np.testing.assert_allclose(weight, 0.8 * old, rtol=1e-6)


def test_in_float32_it_is_keras_own() -> None:
    trial = replace(MUON, model=ModelSpec(embedding_units=3, lstm_units=2), dtype="float32")
    learner = learner_of(trial)
    plain = model.build(
        trial.model, vocabulary_size=VOCABULARY, outputs=OUTPUTS, task=trial.task, dtype=trial.dtype, seed=0
    )
    plain.set_weights(learner.weights())
    own = keras.optimizers.Muon(RATE, exclude_layers=["head"])
    own.build(plain.trainable_variables)
    for update in range(5):
        add(learner, first=update * ROWS)
        gradients = learner.gradient(global_batch=ROWS)[1]
        add(learner, first=update * ROWS)
        learner.update(global_batch=ROWS)
        own.apply([keras.ops.convert_to_tensor(one) for one in gradients], plain.trainable_variables)
        for mine, theirs in zip(learner.weights(), plain.get_weights(), strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-7)
