"""Building model after model in one process: from the seed alone, and without holding more memory for each.

TensorFlow keeps a kernel for each operation that was called eagerly, by its attributes, functions included. A worker
lives for hundreds of trials and builds a model for each, so two things matter (measured on the development machine,
2 cores, TensorFlow 2.21, 2026-11-28):

- `tf.random.set_seed`, and `keras.utils.set_random_seed` with it, empties that cache. Every function is then
  instantiated again at its next call, and what XLA compiles within it is never given back (`CreateXlaKernel`
  instantiates the function's body and does not release it): 4.8 MiB and 0.9 s a trial of the built-in model. Keras'
  own initializers draw from Python's random numbers, so TensorFlow's seed is set only for a model that needs it.
- A variable's name is among the attributes of its kernel, and Keras names the layers of a model anew each time: 36 KiB
  a variable. So variables are made under one name; what Keras calls them stays.
"""

import random
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

_needs_tensorflow: dict[Hashable, bool] = {}


def set_seed(seed: int) -> None:
    """Begin the random numbers of Python and NumPy at `seed`: Keras' own initializers need no more."""
    random.seed(seed)
    np.random.seed(seed)


def seeded(make: Callable[[], keras.Model], seed: int, *, of: Hashable) -> keras.Model:
    """The model that `make` returns once every random number begins at `seed`.

    The first time for `of` it is made twice, to see whether its weights need the seed of TensorFlow and of
    `keras.random` at all. A model that does pays what is said above for each call.
    """
    if _needs_tensorflow.get(of, True):
        keras.utils.set_random_seed(seed)
    else:
        set_seed(seed)
    made = make()
    if of not in _needs_tensorflow:
        set_seed(seed)
        _needs_tensorflow[of] = _weights(make()) != _weights(made)
    return made


def _weights(model: keras.Model) -> list[bytes]:
    return [array.tobytes() for array in model.get_weights()]


@contextmanager
def one_name() -> Iterator[None]:
    """Variables that are made inside have the same name for TensorFlow."""

    def created(make: Any, **options: Any) -> Any:
        # The slash leaves the scopes of Keras' layers, whose names would come before it.
        return make(**{**options, "name": "weight/"})

    with tf.variable_creator_scope(created):
        yield
