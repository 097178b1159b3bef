"""A model that takes its time over an update without computing: a study of it can be disturbed while it is trained."""

import time
from typing import Any

import keras
import tensorflow as tf

from tests.support.models import bag

# An update of the bag itself takes some 3 ms, all of them of a processor that other tests want too.
PAUSE_SECONDS = 0.03


class Pause(keras.layers.Layer):
    """In training, passes on what it is given a little later."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training:
            return inputs
        with tf.control_dependencies([tf.numpy_function(_pause, [], [])]):
            return tf.identity(inputs)


def _pause() -> None:
    time.sleep(PAUSE_SECONDS)


def build(vocabulary_size: int, outputs: int) -> keras.Model:
    """The bag of `tests.support.models` with a pause before its dense layer."""
    hurried = bag(vocabulary_size, outputs)
    *_, dense = hurried.layers
    return keras.Model(hurried.input, dense(Pause()(dense.input)))
