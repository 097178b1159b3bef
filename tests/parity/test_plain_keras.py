"""Updates against plain Keras' own: the same of a batch's gradient, and where `Model.fit` makes another one.

An embedding's gradient reaches Keras' optimizers as a list of parts, one for each time that a word stands in the batch.
Those that square gradients square each part alone and not their sum: with Adam, a word that stands n times in a batch
moves up to sqrt(n) times as far as by the sum, and so further in a larger batch.
"""

from dataclasses import replace

import numpy as np
import pytest

keras = pytest.importorskip("keras")
import tensorflow as tf

from tests.parity.test_update import OUTPUTS, TRIAL, VOCABULARY, learner_of, rows, train
from trainer.model import model
from trainer.trial import OPTIMIZERS
from trainer.update.optimizers import optimizer_of

pytestmark = pytest.mark.tf
UPDATES = 5
LINEAR = ("sgd", "momentum", "nesterov", "lion")


def compiled(optimizer: str) -> keras.Model:
    """The plain model of the trial with its initial weights, and Keras' optimizer."""
    plain = model.build(
        TRIAL.model,
        vocabulary_size=VOCABULARY,
        outputs=OUTPUTS,
        task=TRIAL.task,
        dtype=TRIAL.dtype,
        seed=TRIAL.seed,
    )
    own = optimizer_of(optimizer, plain)
    own.learning_rate = TRIAL.learning_rate
    plain.compile(own, loss="sparse_categorical_crossentropy")
    return plain


def moved(weights: list[np.ndarray], start: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.ravel(here - before) for here, before in zip(weights, start, strict=True)])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_updates_are_kerass_of_the_gradient_of_the_batch_and_fits_only_if_nothing_is_squared(optimizer: str) -> None:
    learner = learner_of(replace(TRIAL, optimizer=optimizer))
    start = learner.weights()
    train(learner, UPDATES)
    found = moved(learner.weights(), start)
    tokens, labels = rows()

    plain = compiled(optimizer)
    for _ in range(UPDATES):
        with tf.GradientTape() as tape:
            loss = plain.compute_loss(y=labels, y_pred=plain(tokens))
        gradients = tape.gradient(loss, plain.trainable_variables)
        plain.optimizer.apply([tf.convert_to_tensor(one) for one in gradients], plain.trainable_variables)
    expected = moved(plain.get_weights(), start)
    assert np.linalg.norm(found - expected) <= 1e-6 * np.linalg.norm(expected)

    fitted = compiled(optimizer)
    for _ in range(UPDATES):
        fitted.train_on_batch(tokens, labels)
    apart = np.linalg.norm(moved(fitted.get_weights(), start) - expected) / np.linalg.norm(expected)
    assert apart <= 1e-6 if optimizer in LINEAR else apart > 5e-3
