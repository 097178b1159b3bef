"""Keras' Dense at every token of a row, but with the bias gradient summed first over a row's tokens, then over rows.

TensorFlow's own sum adds all tokens of a batch one after the other. To the sum of a common token, some hundreds, it
adds again and again the thousandth that an untrained model gives every token, rounded the same way each time. That
makes an error of 3.6e-5 of the gradient of 64 rows of 60 tokens in float32, more than layouts may differ by
(tests/parity/test_language_model.py).
"""

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="batchscope")
class TokenDense(keras.layers.Dense):  # type: ignore[misc]
    """Stands in for `keras.layers.Dense` while training: same configuration, same weights, same output."""

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """[rows, tokens, inputs] -> [rows, tokens, units]; for any other shape, it computes like the Keras layer."""
        if not self.use_bias or len(inputs.shape) != 3:
            return super().call(inputs, training=training)
        # The gradient of a row's own copy is a sum over its tokens; that of making the copies is a sum over rows.
        bias = tf.broadcast_to(keras.ops.convert_to_tensor(self.bias), [tf.shape(inputs)[0], 1, self.units])
        outputs = keras.ops.matmul(inputs, self.kernel) + bias
        return outputs if self.activation is None else self.activation(outputs)
