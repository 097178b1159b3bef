"""The model of the rehearsal's study, which goes with its job: it waits a little for each micro-batch.

So a trial goes on for as long as a machine needs to be lost and replaced, without computing for that long.
"""

import os
import time

import keras
import tensorflow as tf

# Where nothing is to be waited for, this is 0.
SECONDS = "PACED_SECONDS"


def wait(rows: object) -> None:
    """Wait; called for each micro-batch."""
    time.sleep(float(os.environ.get(SECONDS, "0.02")))


class Paced(keras.layers.Layer):
    """Waits, in training, before its inputs go on."""

    def call(self, inputs, training=False):
        """The inputs as they are."""
        if not training:
            return inputs
        with tf.control_dependencies([tf.numpy_function(wait, [tf.shape(inputs)[0]], [])]):
            return tf.identity(inputs)


def build(vocabulary_size, outputs):
    """A mean of embeddings, with dropout, which belongs to the row wherever it is computed."""
    tokens = keras.Input([None], dtype="int32")
    x = keras.layers.Embedding(vocabulary_size, 6, mask_zero=True)(tokens)
    x = keras.layers.Dropout(0.2)(keras.layers.GlobalAveragePooling1D()(x))
    return keras.Model(tokens, keras.layers.Dense(outputs)(Paced()(x)))
