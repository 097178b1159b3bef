"""What Keras does around an update is done for every optimizer, or refused: constraints, frozen weights, decay."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")
import tensorflow as tf

from tests.parity.test_update import KERAS, ROWS, TRIAL, add, learner_of
from trainer.errors import InputError
from trainer.model import model
from trainer.trial import ModelSpec
from trainer.update.optimizers import Muon
from trainer.update.update import Learner

pytestmark = pytest.mark.tf
HERE = "tests.parity.test_constraints"
layers = keras.layers
# Each weight that is constrained begins beyond it, and the learning rate takes it beyond it again.
LIMIT = 0.02
CLIP = 0.01


def max_norm() -> Any:
    return keras.constraints.MaxNorm(LIMIT, axis=0)


def limited(vocabulary_size: int, outputs: int) -> keras.Model:
    """A mean of embeddings through two dense layers: all constrained but for the last."""
    tokens = keras.Input((None,), dtype="int32")
    x = layers.Embedding(vocabulary_size, 4, mask_zero=True, embeddings_constraint=max_norm(), name="words")(tokens)
    x = layers.GlobalAveragePooling1D()(x)
    x = layers.Dense(5, kernel_constraint=keras.constraints.UnitNorm(), bias_constraint="non_neg", name="hidden")(x)
    return keras.Model(tokens, layers.Dense(outputs, activation="softmax", name="head")(x))


def recurrent(vocabulary_size: int, outputs: int) -> keras.Model:
    """A bidirectional LSTM, and a dense layer, constrained."""
    tokens = keras.Input((None,), dtype="int32")
    x = layers.Embedding(vocabulary_size, 3, mask_zero=True)(tokens)
    lstm = layers.LSTM(2, kernel_constraint=max_norm(), recurrent_constraint=max_norm())
    x = layers.Bidirectional(lstm)(x)
    return keras.Model(tokens, layers.Dense(outputs, activation="softmax", kernel_constraint=max_norm())(x))


def frozen(vocabulary_size: int, outputs: int) -> keras.Model:
    """A frozen layer, and a frozen weight of a layer that is not."""
    own = limited(vocabulary_size, outputs)
    own.get_layer("words").trainable = False
    own.get_layer("hidden").kernel.trainable = False
    return own


class Unused(layers.Layer):
    """A layer with a weight that its output does not depend on."""

    def build(self, _: Any) -> None:
        self.unused = self.add_weight(shape=(3,), initializer="ones", constraint=max_norm(), name="unused")

    def call(self, inputs: Any) -> Any:
        return inputs


def with_unused(vocabulary_size: int, outputs: int) -> keras.Model:
    own = limited(vocabulary_size, outputs)
    *_, hidden, head = own.layers
    return keras.Model(own.input, head(Unused(name="idle")(hidden.output)))


class Stopped(layers.Layer):
    """A layer that lets no gradient through."""

    def call(self, inputs: Any) -> Any:
        return keras.ops.stop_gradient(inputs)


def stopped(vocabulary_size: int, outputs: int) -> keras.Model:
    """Every weight stands before where the gradient ends."""
    own = limited(vocabulary_size, outputs)
    hidden = own.layers[-2]
    return keras.Model(own.input, layers.Softmax()(Stopped()(layers.Dense(outputs)(hidden.output))))


def all_frozen(vocabulary_size: int, outputs: int) -> keras.Model:
    own = limited(vocabulary_size, outputs)
    own.trainable = False
    return own


def in_another_dtype(vocabulary_size: int, outputs: int) -> keras.Model:
    tokens = keras.Input((None,), dtype="int32")
    x = layers.Embedding(vocabulary_size, 4, mask_zero=True)(tokens)
    x = layers.Dense(5, dtype="float16", name="narrow")(layers.GlobalAveragePooling1D()(x))
    return keras.Model(tokens, layers.Dense(outputs, activation="softmax")(x))


def overwritten(vocabulary_size: int, outputs: int) -> keras.Model:
    own = limited(vocabulary_size, outputs)
    own.get_layer("hidden").bias.overwrite_with_gradient = True
    return own


def of(name: str, **changes: Any) -> Any:
    return replace(TRIAL, model=ModelSpec(factory=f"{HERE}:{name}"), **changes)


# By the names of its weights, Muon knows which of them to turn: here those of `hidden`.
PLAIN = {**KERAS, "muon": lambda rate: Muon(rate, exclude_layers=["head"])}


class PlainKeras:
    """Keras' optimizer on the learner's weights: trainable ones of its twin, with their constraints."""

    def __init__(self, learner: Learner, optimizer: str, rate: float) -> None:
        self._learner = learner
        self.variables = []
        for weight in learner.model.trainable_variables:
            name = weight.path.replace("/", ".")
            self.variables.append(keras.Variable(weight.numpy(), dtype=weight.dtype, name=name))
            self.variables[-1].constraint = weight.constraint
        self._optimizer = PLAIN[optimizer](rate)

    def update(self, gradient: list[np.ndarray], clip_norm: float | None, skipped: tuple[int, ...] = ()) -> None:
        norm = np.sqrt(sum((array**2).sum() for array in gradient))
        scale = 1.0 if clip_norm is None else min(1.0, clip_norm / norm)
        scaled = [tf.constant(array * scale) for array in gradient]
        given: list[Any] = [None if place in skipped else one for place, one in enumerate(scaled)]
        self._optimizer.apply(given, self.variables)

    def agrees(self) -> None:
        for own, expected in zip(self._learner.model.trainable_variables, self.variables, strict=True):
            np.testing.assert_allclose(own.numpy(), expected.numpy(), rtol=1e-12, atol=1e-15, err_msg=own.path)


def updated_as_by_keras(
    learner: Learner, trial: Any, clip_norm: float | None, skipped: tuple[int, ...] = ()
) -> PlainKeras:
    """Three updates, each followed by the comparison with Keras' optimizer on the same gradient."""
    learner.start(replace(trial, clip_norm=clip_norm))
    plain = PlainKeras(learner, trial.optimizer, trial.learning_rate)
    for update in range(3):
        add(learner, first=update * ROWS)
        gradient = learner.gradient(global_batch=ROWS)[1]
        add(learner, first=update * ROWS)
        assert learner.update(global_batch=ROWS).finite
        plain.update(gradient, clip_norm, skipped)
        plain.agrees()
    return plain


def test_constraints_hold_after_each_update_as_keras_keeps_them(chosen_optimizer: str) -> None:
    trial = of("limited", optimizer=chosen_optimizer)
    learner = learner_of(trial)
    for clip_norm in (None, CLIP):
        updated_as_by_keras(learner, trial, clip_norm)
        words, hidden, bias, *_ = learner.weights()
        assert np.linalg.norm(words, axis=0).max() <= LIMIT * (1 + 1e-9)
        np.testing.assert_allclose(np.linalg.norm(hidden, axis=0), 1, rtol=1e-6)
        assert bias.min() >= 0


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
def test_those_of_an_lstm_hold_in_both_directions(optimizer: str) -> None:
    trial = of("recurrent", optimizer=optimizer)
    learner = learner_of(trial)
    updated_as_by_keras(learner, trial, None)
    constrained = [one for one in learner.model.trainable_variables if one.constraint is not None]
    assert len(constrained) == 5
    for one in constrained:
        assert np.linalg.norm(one.numpy(), axis=0).max() <= LIMIT * (1 + 1e-9), one.path


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_they_hold_in_half_precision_too(dtype: str) -> None:
    learner = learner_of(of("limited", optimizer="adam", dtype=dtype))
    for update in range(3):
        add(learner, first=update * ROWS)
        assert learner.update(global_batch=ROWS).finite
    assert np.linalg.norm(learner.weights()[0], axis=0).max() <= LIMIT * (1 + 1e-6)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_an_update_that_is_not_finite_constrains_nothing(optimizer: str) -> None:
    learner = learner_of(of("limited", optimizer=optimizer))
    broken = learner.weights()
    broken[-1][:] = np.inf
    learner.restore(broken)
    add(learner)
    assert not learner.update(global_batch=ROWS).finite
    for one, before in zip(learner.weights(), broken, strict=True):
        np.testing.assert_array_equal(one, before)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_what_is_frozen_is_neither_trained_nor_decayed_nor_constrained(optimizer: str) -> None:
    trial = of("frozen", optimizer=optimizer)
    learner = learner_of(trial)
    words, hidden, bias, *_ = learner.weights()
    updated_as_by_keras(learner, trial, None)
    after = learner.weights()
    np.testing.assert_array_equal(after[0], words)
    np.testing.assert_array_equal(after[1], hidden)
    assert not np.array_equal(after[2], bias)


def test_a_weight_that_the_loss_does_not_depend_on_stays_as_it_is(chosen_optimizer: str) -> None:
    trial = of("with_unused", optimizer=chosen_optimizer)
    learner = learner_of(trial)
    place = [one.name for one in learner.model.trainable_variables].index("unused")
    updated_as_by_keras(learner, trial, None, skipped=(place,))
    np.testing.assert_array_equal(learner.model.trainable_variables[place].numpy(), np.ones(3))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("all_frozen", "no weight of the model is trainable"),
        ("in_another_dtype", "'narrow/kernel' is float16"),
        ("overwritten", "'hidden/bias' has overwrite_with_gradient"),
    ],
)
def test_what_cannot_be_trained_like_keras_is_refused_by_name(name: str, told: str) -> None:
    spec = ModelSpec(factory=f"{HERE}:{name}")
    with pytest.raises(InputError, match=told):
        model.build(spec, vocabulary_size=12, outputs=3, task="classification", dtype="float32", seed=0)


def test_a_model_whose_loss_depends_on_no_weight_is_refused() -> None:
    with pytest.raises(InputError, match="depends on no trainable weight"):
        learner_of(of("stopped"))
