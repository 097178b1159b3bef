"""Adam's beta2 as a value, so that trials that differ in it share a learner, and nothing is traced again.

Keras keeps beta_2 as a Python number, which becomes a constant of the traced update. A plain `tf.Variable` in its place
would give other digits: Keras rounds `1 - beta_2` once, from Python's float64, but a variable of the weights' dtype is
rounded before the subtraction. `Beta2` is subtracted in float64, and only then rounded.
"""

from typing import Any

import tensorflow as tf

# The default of Keras' Adam and AdamW.
DEFAULT = 0.999


class Beta2:
    """A number that Keras' Adam accepts as its `beta_2`; `assign` changes it. `dtype` is that of the weights."""

    def __init__(self, dtype: str) -> None:
        self._value = tf.Variable(DEFAULT, dtype=tf.float64, trainable=False)
        self._dtype = dtype

    def assign(self, beta2: float | None) -> None:
        """Set the value from the next update on; None for Keras' default."""
        self._value.assign(DEFAULT if beta2 is None else beta2)

    def __rsub__(self, one: float) -> Any:
        """`1 - beta2`, in the dtype of the weights."""
        return tf.cast(one - self._value, self._dtype)

    def __tf_tensor__(self, dtype: Any = None, name: str | None = None) -> Any:
        """The value, for TensorFlow's conversions: like a Python number, it is float32 if no dtype is asked for.

        Keras computes the powers of beta2 through such a conversion, in float64 too.
        """
        return tf.cast(self._value, dtype or tf.float32, name=name)
