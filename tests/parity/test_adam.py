"""Adam and AdamW in one pass: Keras' own digits in weights and state, whatever the gradients."""

from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")
import tensorflow as tf

from trainer.update import adam

pytestmark = pytest.mark.tf
SHAPES = [(300, 16), (16, 24), (24,)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer_of", [keras.optimizers.Adam, keras.optimizers.AdamW])
def test_twenty_updates_are_keras_own_to_the_last_bit(optimizer_of: Any, dtype: str) -> None:
    random = np.random.default_rng(1)
    weights = [random.normal(size=shape) for shape in SHAPES]
    sides = []
    for _ in range(2):
        variables = [keras.Variable(array, dtype=dtype) for array in weights]
        optimizer = optimizer_of(0.01)
        optimizer.build(variables)
        assert adam.can_apply(optimizer, dtype)
        sides.append((optimizer, variables))
    (plain, expected), (fused, found) = sides
    one = tf.function(lambda gradients, scale: plain.apply([array * scale for array in gradients], expected))
    other = tf.function(lambda gradients, scale: adam.apply(fused, gradients, found, scale))
    for update in range(20):
        # Of all sizes, and of most rows of a table none.
        sizes = [
            10.0 ** random.integers(-8, 3, shape) * (random.random((shape[0],) + (1,) * (len(shape) - 1)) < 0.3)
            for shape in SHAPES
        ]
        gradients = [tf.constant(random.normal(size=size.shape) * size, dtype) for size in sizes]
        for apply in (one, other):
            apply(gradients, tf.constant(0.37 if update % 3 else 1.0, dtype))
        for mine, theirs in zip((*found, *fused.variables), (*expected, *plain.variables), strict=True):
            assert mine.numpy().tobytes() == theirs.numpy().tobytes(), (update, mine.path)


def test_what_it_does_not_compute_is_left_to_keras() -> None:
    assert not adam.can_apply(keras.optimizers.Adam(amsgrad=True), "float32")
    assert not adam.can_apply(keras.optimizers.Adam(), "float16")
    assert not adam.can_apply(keras.optimizers.Nadam(), "float32")
    assert not adam.can_apply(keras.optimizers.RMSprop(), "float32")
