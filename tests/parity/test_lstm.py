"""The training twin against plain Keras: the same outputs and gradients on right-padded rows, layer by layer."""

import itertools

import numpy as np
import pytest

keras = pytest.importorskip("keras")
import tensorflow as tf

from trainer.model import model
from trainer.model.lstm import RightPaddedLSTM, kernel_path, kernel_paths
from trainer.trial import ModelSpec

pytestmark = pytest.mark.tf
VARIANTS = [
    ModelSpec(embedding_units=6, lstm_units=5),
    ModelSpec(embedding_units=6, lstm_units=5, bidirectional=True),
    ModelSpec(embedding_units=6, lstm_units=5, layers=2),
    ModelSpec(embedding_units=6, lstm_units=5, layers=2, bidirectional=True),
]

SHAPES = [(1, 1), (7, 8), (9, 33), (16, 40)]
# Each shape and each variant; with --long all of each.
CHOSEN = [*zip(VARIANTS, reversed(SHAPES), strict=True), (VARIANTS[-1], SHAPES[-1])]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "variant" in metafunc.fixturenames:
        cases = itertools.product(VARIANTS, SHAPES) if metafunc.config.getoption("long") else CHOSEN
        metafunc.parametrize(("variant", "shape"), cases, ids=str)


def rows(count: int, longest: int) -> np.ndarray:
    random = np.random.default_rng(1)
    tokens = np.zeros((count, longest), "int32")
    for row in tokens:
        length = random.integers(1, longest + 1)
        row[:length] = random.integers(2, 30, length)
    return tokens


def test_the_twin_computes_what_plain_keras_computes(variant: ModelSpec, shape: tuple[int, int]) -> None:
    plain = model.build(variant, vocabulary_size=30, outputs=4, task="classification", dtype="float64", seed=2)
    twin = model.training_twin(plain)
    swapped = [layer for layer in twin._flatten_layers() if isinstance(layer, RightPaddedLSTM)]
    assert len(swapped) == variant.layers * (2 if variant.bidirectional else 1)
    assert {kernel_path(layer) for layer in swapped} == {"xla"}
    assert (kernel_paths(twin), kernel_paths(plain)) == ("xla", "keras")
    tokens = rows(*shape)
    labels = np.arange(len(tokens)) % 4

    @tf.function
    def loss_and_gradients(net: keras.Model, *, logits: bool) -> tuple:
        with tf.GradientTape() as tape:
            out = net(tokens)
            loss = tf.reduce_sum(keras.losses.sparse_categorical_crossentropy(labels, out, from_logits=logits))
        found = tape.gradient(loss, [variable.value for variable in net.trainable_variables])
        return loss, [tf.convert_to_tensor(gradient) for gradient in found]

    expected, expected_gradients = loss_and_gradients(plain, logits=False)
    found, found_gradients = loss_and_gradients(twin, logits=True)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    for one, other in zip(found_gradients, expected_gradients, strict=True):
        # Keras clips probabilities at 1e-7 before it takes their logarithm, logits need no such thing.
        assert np.linalg.norm(one - other) <= 1e-6 * np.linalg.norm(other) + 1e-12


def test_a_layer_with_other_activations_is_left_to_keras() -> None:
    assert kernel_path(keras.layers.LSTM(3, activation="relu")) == "keras"
    assert kernel_path(keras.layers.LSTM(3)) == "xla"
    assert kernel_paths(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])) == "none"


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("zeros", [False, True])
def test_sequences_agree_at_every_place_even_the_padding(backwards: bool, zeros: bool) -> None:
    random = np.random.default_rng(3)
    options = {"return_sequences": True, "go_backwards": backwards, "zero_output_for_mask": zeros, "dtype": "float64"}
    plain = keras.layers.LSTM(4, **options)
    ours = RightPaddedLSTM(4, **options)
    inputs, mask = random.normal(size=(6, 9, 3)), rows(6, 9) != 0
    expected = plain(inputs, mask=mask)
    ours.build(inputs.shape)
    ours.set_weights(plain.get_weights())
    np.testing.assert_allclose(ours(inputs, mask=mask), expected, atol=1e-12)
