"""Keras' Dense at every token of a row, whose bias' gradient is summed over a row's tokens first, and then over rows.

TensorFlow's own adds all tokens of a batch one after the other. To a common token's sum of some hundreds it adds as
often the thousandth that an untrained model gives every token, rounded the same way each time: 3.6e-5 of the gradient
of 64 rows of 60 tokens in float32, more than layouts may differ by (tests/parity/test_language_model.py).
"""

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="batchscope")
class TokenDense(keras.layers.Dense):  # type: ignore[misc]
    """Stands in for `keras.layers.Dense` while training: same configuration, same weights, same output."""

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """[rows, tokens, inputs] -> [rows, tokens, units]; of any other shape it is the Keras layer."""
        if not self.use_bias or len(inputs.shape) != 3:
            return super().call(inputs, training=training)
        # The gradient of a row's own copy is a sum over its tokens, that of making the copies one over rows.
        bias = tf.broadcast_to(keras.ops.convert_to_tensor(self.bias), [tf.shape(inputs)[0], 1, self.units])
        outputs = keras.ops.matmul(inputs, self.kernel) + bias
        return outputs if self.activation is None else self.activation(outputs)
